//! `multipart/form-data` (RFC 7578): fields and one file.

/// A form that grows.
pub struct Form {
    boundary: String,
    body: Vec<u8>,
}

impl Form {
    /// An empty one, whose boundary does not occur in these bytes.
    pub fn new(bytes: &[u8]) -> Self {
        let boundary = (0u32..)
            .map(|number| format!("part-{number:08x}"))
            .find(|boundary| !bytes.windows(boundary.len()).any(|window| window == boundary.as_bytes()))
            .expect("no file holds all numbers");
        Self { boundary, body: Vec::new() }
    }

    /// A text.
    pub fn field(&mut self, name: &str, value: &str) {
        let head = format!(
            "--{}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n",
            self.boundary
        );
        self.body.extend_from_slice(head.as_bytes());
    }

    /// A file. Its name has no quotes and no line ends.
    pub fn file(&mut self, name: &str, file: &str, kind: &str, bytes: &[u8]) {
        let head = format!(
            "--{}\r\nContent-Disposition: form-data; name=\"{name}\"; filename=\"{file}\"\r\nContent-Type: {kind}\r\n\r\n",
            self.boundary
        );
        self.body.extend_from_slice(head.as_bytes());
        self.body.extend_from_slice(bytes);
        self.body.extend_from_slice(b"\r\n");
    }

    /// The value of `Content-Type`, and the body.
    pub fn finish(mut self) -> (String, Vec<u8>) {
        self.body.extend_from_slice(format!("--{}--\r\n", self.boundary).as_bytes());
        (format!("multipart/form-data; boundary={}", self.boundary), self.body)
    }
}

#[cfg(test)]
mod tests {
    use super::Form;

    #[test]
    fn a_form_has_a_boundary_that_no_file_holds() {
        let sound = b"x\r\n--part-00000000\r\ny";
        let mut form = Form::new(sound);
        form.field("model", "m");
        form.file("file", "a.ogg", "audio/ogg", sound);
        let (kind, body) = form.finish();
        assert_eq!(kind, "multipart/form-data; boundary=part-00000001");
        let text = String::from_utf8(body).expect("text");
        assert_eq!(
            text,
            "--part-00000001\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nm\r\n\
             --part-00000001\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.ogg\"\r\n\
             Content-Type: audio/ogg\r\n\r\nx\r\n--part-00000000\r\ny\r\n--part-00000001--\r\n"
        );
    }
}
