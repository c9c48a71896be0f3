//! The real `openclaw chat` against a stand-in for the gateway's admin socket: what is sent, what is printed, how it
//! leaves.

use std::{
    io::{Read, Write},
    os::unix::net::{UnixListener, UnixStream},
    process::{Command, Output, Stdio},
    sync::{Arc, Mutex},
    thread,
};

const STATUS: &str = r#"{"profile":"development","started":0,"version":"0","models":[{"name":"rehearsal","api":"rehearsal","model":"script","max_output":1,"host":"here","problem":null}],"bots":[],
    "queues":{"inbox_waiting":0,"running_turns":0,"outbox_waiting":0,"dead_letters":0},"owner_paired":false,
    "skills":[],"skills_off":null,"processes":[],"warnings":[]}"#;

/// Requests as `METHOD path body`, in order.
type Heard = Arc<Mutex<Vec<String>>>;

/// Answers every request; the chat's by `events`, which gets what was heard so far for a question to be answered.
fn gateway(dir: &std::path::Path, events: fn(&str, &mut UnixStream, &Heard)) -> Heard {
    std::fs::create_dir(dir.join("gateway")).expect("folder");
    let listener = UnixListener::bind(dir.join("gateway/admin.sock")).expect("socket");
    let heard = Heard::default();
    let all = heard.clone();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, heard) = (stream.expect("connection"), all.clone());
            thread::spawn(move || {
                let (head, body) = request(&mut stream);
                heard.lock().expect("lock").push(format!("{head} {body}").trim().to_owned());
                match head.as_str() {
                    "GET /status" => whole(&mut stream, "200 OK", STATUS),
                    "POST /chat" => {
                        stream
                            .write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
                            .expect("head");
                        events(&body, &mut stream, &heard);
                    }
                    _ => whole(&mut stream, "204 No Content", ""),
                }
            });
        }
    });
    heard
}

fn request(stream: &mut UnixStream) -> (String, String) {
    let mut bytes = Vec::new();
    let mut byte = [0];
    while !bytes.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).expect("head");
        bytes.push(byte[0]);
    }
    let head = String::from_utf8(bytes).expect("head");
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap_or("0");
    let mut body = vec![0; length.parse().expect("length")];
    stream.read_exact(&mut body).expect("body");
    let line: Vec<&str> = head.split(' ').take(2).collect();
    (line.join(" "), String::from_utf8(body).expect("body"))
}

fn whole(stream: &mut UnixStream, status: &str, body: &str) {
    let length =
        if status.starts_with("204") { String::new() } else { format!("content-length: {}\r\n", body.len()) };
    let _ = stream.write_all(format!("HTTP/1.1 {status}\r\n{length}\r\n{body}").as_bytes());
}

fn event(stream: &mut UnixStream, json: &str) {
    let _ = stream.write_all(format!("{:x}\r\n{json}\n\r\n", json.len() + 1).as_bytes());
}

fn end(stream: &mut UnixStream) {
    let _ = stream.write_all(b"0\r\n\r\n");
}

fn chat(dir: &std::path::Path, input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_openclaw"))
        .args(["chat", "--state"])
        .arg(dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("starts");
    child.stdin.take().expect("stdin").write_all(input.as_bytes()).expect("write");
    child.wait_with_output().expect("ends")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

#[test]
fn each_line_of_a_pipe_is_a_message_and_its_answer_is_printed_without_escapes() {
    let dir = tempfile::tempdir().expect("dir");
    let heard = gateway(dir.path(), |_, stream, _| {
        event(stream, r#"{"text":"Hello \u001b[31mred\u001b[0m"}"#);
        event(stream, r#"{"tool":"read"}"#);
        event(stream, r#"{"text":" you"}"#);
        event(stream, r#"{"done":true}"#);
        end(stream);
    });
    let output = chat(dir.path(), "one\n\ntwo");
    assert!(output.status.success(), "{output:?}");
    let heard = heard.lock().expect("lock").clone();
    assert_eq!(heard, ["GET /status", r#"POST /chat {"text":"one"}"#, r#"POST /chat {"text":"two"}"#]);
    // The tool's line goes to standard error, so a script reads answers alone.
    assert_eq!(text(&output.stdout), "Hello [31mred[0m\n you\nHello [31mred[0m\n you\n");
    let shown = text(&output.stderr);
    assert!(shown.contains("REHEARSAL") && shown.contains("[read]"), "{shown}");
}

#[test]
fn a_question_is_answered_by_the_next_line_and_by_no_when_there_is_none() {
    for (input, approve) in [("do it\ny\n", "true"), ("do it\nn\n", "false"), ("do it\n", "false")] {
        let dir = tempfile::tempdir().expect("dir");
        let heard = gateway(dir.path(), |_, stream, heard| {
            event(stream, r#"{"ask":{"id":"q1","text":"delete all"}}"#);
            while !heard.lock().expect("lock").iter().any(|request| request.starts_with("POST /approve")) {
                thread::yield_now();
            }
            event(stream, r#"{"done":true}"#);
            end(stream);
        });
        let output = chat(dir.path(), input);
        assert!(output.status.success(), "{output:?}");
        assert!(text(&output.stderr).contains("delete all"));
        let last = heard.lock().expect("lock").last().cloned();
        assert_eq!(last, Some(format!(r#"POST /approve {{"id":"q1","approve":{approve}}}"#)), "{input:?}");
    }
}

#[test]
fn stop_overtakes_the_answer() {
    let dir = tempfile::tempdir().expect("dir");
    let heard = gateway(dir.path(), |_, stream, heard| {
        event(stream, r#"{"text":"begun"}"#);
        while !heard.lock().expect("lock").iter().any(|request| request == "POST /chat/stop") {
            thread::yield_now();
        }
        event(stream, r#"{"error":"stopped"}"#);
        end(stream);
    });
    let output = chat(dir.path(), "a long one\n/stop\n");
    assert_eq!(output.status.code(), Some(1), "a message was not answered: {output:?}");
    assert!(text(&output.stderr).contains("error: stopped"));
    assert_eq!(heard.lock().expect("lock").len(), 3);
}

#[test]
fn a_gateway_that_goes_away_is_an_error_and_none_at_all_is_exit_code_3() {
    let dir = tempfile::tempdir().expect("dir");
    let output = chat(dir.path(), "hello\n");
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    let _heard = gateway(dir.path(), |_, stream, _| event(stream, r#"{"text":"begun"}"#));
    let output = chat(dir.path(), "hello\n");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_eq!(text(&output.stdout), "begun\n");
    assert!(text(&output.stderr).contains("went away"), "{output:?}");
}
