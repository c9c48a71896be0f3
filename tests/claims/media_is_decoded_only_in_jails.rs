//! What takes documents, sounds and pictures apart is a skill's program in its jail, and no other: neither gateway nor egress
//! nor runner links a decoder, and what a bomb blows up is the jail (incident 116).

use std::io::{Cursor, Seek, Write};

use flate2::{Compression, write::ZlibEncoder};
use openclaw_tests::{
    broker::{Broker, Setup},
    linked::linked,
};
use openclaw_wire::runner::{Answer, Failure, Outcome};
use serde_json::json;
use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

/// Crates that decode documents, archives, markup, pictures, sound or film; anything of these names.
const DECODERS: [&str; 22] = [
    "lopdf",
    "pdf",
    "zip",
    "flate2",
    "miniz_oxide",
    "zlib-rs",
    "brotli",
    "zstd",
    "xz2",
    "bzip2",
    "tar",
    "quick-xml",
    "html5ever",
    "html2text",
    "image",
    "png",
    "jpeg",
    "webp",
    "gif",
    "symphonia",
    "ogg",
    "opus",
];

fn decoders(package: &str) -> Vec<String> {
    let linked = linked(package);
    assert!(linked.len() > 10, "{package}: {linked:?}");
    let decodes = |name: &String| {
        DECODERS.iter().any(|known| name == known || name.split(['-', '_']).any(|part| part == *known))
    };
    linked.into_iter().filter(decodes).collect()
}

/// Incident 116: who reads strangers' words and who holds the keys link nothing that decodes; the skill that does, does.
#[test]
fn no_decoder_is_linked_but_in_skills() {
    assert!(decoders("skill-read-documents").contains(&"lopdf".to_owned()), "the control");
    for package in ["openclaw", "openclaw-egress", "openclaw-runner", "openclaw-mcp"] {
        assert_eq!(decoders(package), Vec::<String>::new(), "{package}");
    }
}

/// So many bytes of one kind, packed.
fn packed(length: u64) -> Vec<u8> {
    let mut packer = ZlibEncoder::new(Vec::new(), Compression::fast());
    std::io::copy(&mut std::io::Read::take(std::io::repeat(b' '), length), &mut packer).expect("packs");
    packer.finish().expect("packs")
}

/// A PDF of one page whose content is this stream.
fn pdf(stream: &[u8], filter: &str) -> Vec<u8> {
    let objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>".to_vec(),
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>".to_vec(),
        b"<< /Type /Page /Parent 2 0 R /Contents 4 0 R /MediaBox [0 0 9 9] /Resources << >> >>".to_vec(),
        [
            format!("<< /Length {} /Filter {filter} >>\nstream\n", stream.len()).as_bytes(),
            stream,
            b"\nendstream",
        ]
        .concat(),
    ];
    numbered(&objects)
}

fn numbered(objects: &[Vec<u8>]) -> Vec<u8> {
    let (mut bytes, mut places) = (b"%PDF-1.5\n".to_vec(), Vec::new());
    for (at, object) in objects.iter().enumerate() {
        places.push(bytes.len());
        bytes.extend([format!("{} 0 obj\n", at + 1).as_bytes(), object, b"\nendobj\n"].concat());
    }
    let start = bytes.len();
    bytes.extend(format!("xref\n0 {}\n0000000000 65535 f \n", objects.len() + 1).bytes());
    places.iter().for_each(|place| bytes.extend(format!("{place:010} 00000 n \n").bytes()));
    let end = format!("trailer\n<< /Size {} /Root 1 0 R >>\nstartxref\n{start}\n%%EOF\n", objects.len() + 1);
    bytes.extend(end.bytes());
    bytes
}

/// A DOCX whose text is this, so many times.
fn docx(head: &str, piece: &str, times: usize, tail: &str) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let options =
        SimpleFileOptions::default().compression_method(CompressionMethod::Deflated).large_file(true);
    zip.start_file("[Content_Types].xml", options).expect("file");
    zip.write_all(b"<Types/>").expect("write");
    zip.start_file("word/document.xml", options).expect("file");
    zip.write_all(head.as_bytes()).expect("write");
    let (block, blocks) = (piece.repeat(1000), times / 1000);
    (0..blocks).for_each(|_| zip.write_all(block.as_bytes()).expect("write"));
    zip.write_all(tail.as_bytes()).expect("write");
    zip.finish().expect("zip").into_inner()
}

/// A PNG of 60,000 by 60,000 points in a few bytes.
fn png() -> Vec<u8> {
    let mut bytes = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".to_vec();
    bytes.extend([60_000u32.to_be_bytes(), 60_000u32.to_be_bytes()].concat());
    bytes.extend(b"\x08\x06\0\0\0\0\0\0\0");
    bytes.extend(packed(1 << 20));
    bytes
}

fn bombs() -> Vec<(&'static str, Vec<u8>)> {
    let twice = {
        let mut packer = ZlibEncoder::new(Vec::new(), Compression::fast());
        packer.write_all(&packed(128 << 20)).expect("packs");
        packer.finish().expect("packs")
    };
    let cycle = vec![
        b"<< /Type /Catalog /Pages 2 0 R >>".to_vec(),
        b"<< /Type /Pages /Kids [2 0 R 2 0 R 2 0 R] /Count 1000000000 >>".to_vec(),
    ];
    let nested = [b"%PDF-1.5\n1 0 obj\n".as_slice(), &b"[".repeat(4 << 20)].concat();
    let laughs =
        "<!DOCTYPE x [<!ENTITY a \"aaaaaaaaaa\"><!ENTITY b \"&a;&a;&a;&a;&a;&a;&a;&a;\">]><w:p><w:t>&b;";
    vec![
        ("pdf", pdf(&packed(128 << 20), "/FlateDecode")),
        ("pdf", pdf(&twice, "[/FlateDecode /FlateDecode]")),
        ("pdf", numbered(&cycle)),
        ("pdf", nested),
        ("docx", docx("<w:document><w:p><w:t>", "          ", 10_000_000, "</w:t></w:p></w:document>")),
        ("docx", docx("", "<w:p>", 4_000_000, "")),
        ("docx", docx(laughs, "&b;", 1_000_000, "</w:t></w:p>")),
        ("png", png()),
    ]
}

fn file(bytes: &[u8]) -> std::fs::File {
    let mut file = tempfile::tempfile().expect("a file");
    file.write_all(bytes).expect("write");
    file.rewind().expect("rewind");
    file
}

fn read(broker: &Broker, name: &str, bytes: &[u8]) -> Outcome {
    let path = json!({ "path": format!("/attached/{name}") });
    broker.with_files("read-documents", "read_document", &path, &[(name, &file(bytes))]).0
}

/// Incidents 75 and 116: bombs in PDF, DOCX, ZIP, XML and PNG end in words or in the jail's own limits; what comes after them
/// is read.
#[test]
fn bombs_blow_up_nothing_but_their_jail() {
    let broker = Setup::new().bundled("read-documents", &[]).start();
    let good = docx("<w:document><w:p><w:t>", "a rent of 900 euro ", 1000, "</w:t></w:p></w:document>");
    let reads = |after: &str| match read(&broker, "1.docx", &good) {
        Outcome::Output(text) => assert!(text.contains("a rent of 900 euro"), "{after}: {text}"),
        failed => panic!("{after}: {failed:?}"),
    };
    reads("nothing");
    for (at, (kind, bomb)) in bombs().into_iter().enumerate() {
        assert!(bomb.len() < 20 << 20, "{at} {kind}: it fits into a message: {}", bomb.len());
        match read(&broker, &format!("{}.{kind}", at + 1), &bomb) {
            Outcome::Output(text) => match serde_json::from_str(&text).expect("an answer") {
                // A window of what could be read, or why nothing could.
                Answer::Text(text) => assert!(text.len() < 64 << 10, "{at} {kind}: {}", text.len()),
                Answer::Error(text) => assert!(text.len() < 4 << 10, "{at} {kind}: {text}"),
                other => panic!("{at} {kind}: {other:?}"),
            },
            Outcome::Failed { reason, .. } => {
                let limits = [Failure::Memory, Failure::Cpu, Failure::Time, Failure::Disk, Failure::Crashed];
                assert!(limits.contains(&reason), "{at} {kind}: {reason:?}");
            }
        }
        reads(kind);
    }
}

/// A decoder without any bound of its own: it works, and with a bomb its jail ends it by the limit of its manifest.
#[test]
fn a_decoder_without_bounds_dies_within_its_limits() {
    let manifest = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/skills/maker/skill.toml"));
    let program = std::env::current_exe().expect("own path");
    let setup = Setup::new().skill_with("maker", &manifest.expect("skill.toml"));
    let program = program.ancestors().nth(2).expect("target/<profile>/deps/<test>").join("test-maker");
    let broker = setup.program("maker", &program).start();
    let unpack = |length: u64| {
        let path = json!({ "file": "/attached/1.z" });
        broker.with_files("maker", "unpack", &path, &[("1.z", &file(&packed(length)))]).0
    };
    match unpack(10 << 20) {
        Outcome::Output(text) => assert!(text.contains("10485760"), "{text}"),
        failed => panic!("{failed:?}"),
    }
    match unpack(512 << 20) {
        Outcome::Failed { reason: Failure::Memory | Failure::Cpu, detail } => {
            assert!(detail.contains("[limits]") || detail.contains("memory"), "{detail}");
        }
        // It asked for a piece that the kernel refused, and lived to say so.
        Outcome::Output(text) if text.contains("out of memory") => {}
        other => panic!("{other:?}"),
    }
    assert!(matches!(unpack(10 << 20), Outcome::Output(_)), "and the next call runs");
}
