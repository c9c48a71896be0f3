//! Cuts bytes as a network might.

/// `data` in pieces of 0 to 15 bytes, at borders that its own last bytes choose: so the fuzzer can move them.
pub fn pieces(data: &[u8]) -> Vec<&[u8]> {
    let lengths: Vec<usize> = data.iter().rev().take(6).map(|byte| usize::from(byte % 16)).collect();
    let mut rest = data;
    let mut pieces = Vec::new();
    for length in lengths.iter().cycle() {
        // All zero would never end.
        let length = if lengths.iter().all(|length| *length == 0) { 1 } else { *length };
        if rest.is_empty() {
            break;
        }
        let (piece, after) = rest.split_at(length.min(rest.len()));
        pieces.push(piece);
        rest = after;
    }
    pieces
}
