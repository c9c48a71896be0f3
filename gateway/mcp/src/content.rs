//! A tool's result as text for the model. Bytes of pictures, sounds and files are named and left out: nobody decodes them.

use openclaw_wire::runner::Answer;
use rmcp::model::{CallToolResult, ContentBlock, ResourceContents};

/// All parts of a result, one after the other.
pub fn answer(result: CallToolResult) -> Answer {
    let mut parts: Vec<String> = result.content.iter().map(part).collect();
    // A server that structures its result says the same as text besides; where it does not, this is all there is.
    if let (true, Some(value)) = (parts.is_empty(), &result.structured_content) {
        parts.push(value.to_string());
    }
    let text = parts.join("\n\n");
    match result.is_error {
        Some(true) => Answer::Error(text),
        _ => Answer::Text(text),
    }
}

fn part(block: &ContentBlock) -> String {
    match block {
        ContentBlock::Text(text) => text.text.clone(),
        ContentBlock::Image(image) => left_out("a picture", &image.mime_type, &image.data),
        ContentBlock::Audio(audio) => left_out("a sound", &audio.mime_type, &audio.data),
        ContentBlock::Resource(embedded) => match &embedded.resource {
            ResourceContents::TextResourceContents { uri, text, .. } => format!("{uri}:\n{text}"),
            ResourceContents::BlobResourceContents { uri, mime_type, blob, .. } => {
                left_out(uri, mime_type.as_deref().unwrap_or("of an unknown kind"), blob)
            }
            _ => "(something of a kind that is not known here)".into(),
        },
        ContentBlock::ResourceLink(link) => format!("({}: {})", link.name, link.uri),
        _ => "(something of a kind that is not known here)".into(),
    }
}

/// Base64 takes four characters for three bytes.
fn left_out(what: &str, kind: &str, base64: &str) -> String {
    format!("({what}, {kind}, {} bytes, left out)", base64.len() / 4 * 3)
}

#[cfg(test)]
mod tests {
    use openclaw_wire::runner::Answer;
    use serde_json::{Value, json};

    fn answer(result: Value) -> Answer {
        super::answer(serde_json::from_value(result).expect("a result"))
    }

    #[test]
    fn every_kind_of_content_is_text_or_named() {
        let said = answer(json!({ "content": [
            { "type": "text", "text": "one" },
            { "type": "image", "data": "AAAAAAAA", "mimeType": "image/png" },
            { "type": "audio", "data": "AAAA", "mimeType": "audio/wav" },
            { "type": "resource", "resource": { "uri": "file:///a", "text": "inside" } },
            { "type": "resource", "resource": { "uri": "file:///b", "blob": "AAAA", "mimeType": "x/y" } },
            { "type": "resource_link", "uri": "file:///c", "name": "c" }
        ] }));
        let text = "one\n\n(a picture, image/png, 6 bytes, left out)\n\n(a sound, audio/wav, 3 bytes, left out)\n\n\
            file:///a:\ninside\n\n(file:///b, x/y, 3 bytes, left out)\n\n(c: file:///c)";
        assert_eq!(said, Answer::Text(text.into()));
        assert_eq!(
            answer(json!({ "content": [{ "type": "text", "text": "no" }], "isError": true })),
            Answer::Error("no".into())
        );
        assert_eq!(
            answer(json!({ "content": [], "structuredContent": { "sum": 3 } })),
            Answer::Text("{\"sum\":3}".into())
        );
    }
}
