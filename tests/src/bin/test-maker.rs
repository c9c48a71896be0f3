//! The program of the skill `maker`: tells what its jail shows of attachments, and makes files, hostile ones too.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    os::{fd::AsRawFd, unix::fs::symlink},
    process::ExitCode,
    thread,
    time::Duration,
};

use openclaw_wire::runner::{Answer, Task};
use serde_json::{Value, json};

fn main() -> ExitCode {
    let mut text = String::new();
    io::stdin().read_to_string(&mut text).expect("a task");
    let task: Task = serde_json::from_str(&text).expect("a task");
    let said = match task.tool.as_str() {
        "make" => make(&task.arguments),
        "unpack" => unpack(&task.arguments),
        _ => Ok(examine(&task.arguments)),
    };
    let answer = match said {
        Ok(said) => Answer::Text(said.to_string()),
        Err(error) => Answer::Error(error.to_string()),
    };
    println!("{}", serde_json::to_string(&answer).expect("plain data"));
    match task.arguments["act"] == "fail" {
        true => ExitCode::FAILURE,
        false => ExitCode::SUCCESS,
    }
}

fn told<T>(result: io::Result<T>) -> Value {
    match result {
        Ok(_) => json!("done"),
        Err(error) => json!(error.kind().to_string()),
    }
}

/// What is there, what can be read of it, and whether anything can be changed.
fn examine(arguments: &Value) -> Value {
    let file = arguments["file"].as_str().unwrap_or("/attached/1.bin");
    let mut names: Vec<String> = fs::read_dir("/attached")
        .map(|all| all.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect())
        .unwrap_or_default();
    names.sort();
    let read = fs::read(file);
    json!({
        "names": names,
        "size": read.as_ref().map_or(0, Vec::len),
        "text": read.map(|bytes| String::from_utf8_lossy(&bytes[..bytes.len().min(200)]).into_owned()).ok(),
        "write": told(File::options().write(true).open(file)),
        "append": told(File::options().append(true).open(file).and_then(|mut file| file.write_all(b"x"))),
        "delete": told(fs::remove_file(file)),
        "beside": told(fs::write("/attached/9.txt", "x")),
        "execute": told(std::process::Command::new(file).status()),
        "descriptors": taken(),
    })
}

/// Descriptors below 40 that this process was given besides the three ordinary ones: the kernel gives the lowest that is
/// free, so those that it leaves out are taken.
fn taken() -> Vec<i32> {
    let opened: Vec<File> = (0..30).filter_map(|_| File::open("/dev/null").ok()).collect();
    let free: Vec<i32> = opened.iter().map(AsRawFd::as_raw_fd).collect();
    (3..*free.last().unwrap_or(&3)).filter(|fd| !free.contains(fd)).collect()
}

/// A decoder as it should not be.
fn unpack(arguments: &Value) -> io::Result<Value> {
    let file = File::open(arguments["file"].as_str().unwrap_or_default())?;
    let mut all = Vec::new();
    flate2::read::ZlibDecoder::new(file).read_to_end(&mut all)?;
    Ok(json!({ "unpacked": all.len() }))
}

fn make(arguments: &Value) -> io::Result<Value> {
    for (name, text) in arguments["files"].as_object().into_iter().flatten() {
        fs::write(format!("/made/{name}"), text.as_str().unwrap_or_default())?;
    }
    match arguments["act"].as_str().unwrap_or_default() {
        "too much" => {
            let mut file = File::create("/made/large.bin")?;
            loop {
                file.write_all(&[7; 64 << 10])?;
            }
        }
        "links" => {
            fs::create_dir("/made/folder")?;
            fs::write("/made/folder/deep.txt", "deep")?;
            fs::write("/made/.hidden", "hidden")?;
            fs::write("/made/x\\..\\etc", "odd")?;
            return Ok(json!([
                told(symlink("/skill/bin/test-maker", "/made/link.bin")),
                told(symlink("/made/none", "/made/dangling")),
            ]));
        }
        "many" => (0..20).try_for_each(|n| fs::write(format!("/made/{n:02}.txt"), "x"))?,
        "outside" => {
            return Ok(json!([told(fs::write("/made/../escape", "x")), told(fs::write("/files/x", "x"))]));
        }
        _ => {}
    }
    thread::sleep(Duration::from_millis(arguments["milliseconds"].as_u64().unwrap_or(0)));
    Ok(json!("made"))
}
