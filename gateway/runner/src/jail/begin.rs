//! What the skill's program starts with: its arguments out of the manifest, and an environment made from nothing. Nothing
//! of the host's environment, the manifest or the model gets into it.

use std::{
    ffi::{CString, OsStr},
    path::{Path, PathBuf},
};

use openclaw_runner::spec::{CLIENT, Runtime, SKILL, Skill, Spec};

use crate::forward;

/// Arguments and environment. A NUL byte in one of them is an error; the manifest's parser refuses it before.
pub fn with(spec: &Spec) -> Result<(Vec<CString>, Vec<CString>), std::ffi::NulError> {
    let runtime = spec.skill.as_ref().and_then(|skill| skill.runtime.as_ref());
    let inside = |skill: &Skill| bytes(&Path::new(SKILL).join(&skill.program));
    let server = spec.skill.as_ref().is_some_and(|skill| skill.client.is_some());
    let mut args = match (&spec.skill, runtime) {
        (Some(skill), Some(runtime)) => vec![bytes(&runtime.name), inside(skill)],
        // A client looks for the server by this name.
        (Some(skill), None) if server => vec![inside(skill)],
        _ => vec![b"skill".to_vec()],
    };
    if server {
        args.insert(0, CLIENT.as_bytes().to_vec());
    }
    args.extend(spec.skill.iter().flat_map(|Skill { args, .. }| args).map(|arg| arg.clone().into_bytes()));
    let mut environment =
        vec![[b"PATH=".to_vec(), path(runtime)].concat(), b"HOME=/tmp".to_vec(), b"LANG=C.UTF-8".to_vec()];
    if spec.authority.is_some() {
        environment.extend(forward::environment());
    }
    let strings = |list: Vec<Vec<u8>>| list.into_iter().map(CString::new).collect::<Result<Vec<_>, _>>();
    Ok((strings(args)?, strings(environment)?))
}

/// The skill's own programs, the interpreter's folder, and those of the operator's folders that hold programs.
fn path(runtime: Option<&Runtime>) -> Vec<u8> {
    let mut folders = vec![Path::new(SKILL).join("bin")];
    let bin = |folder: &&PathBuf| folder.file_name() == Some(OsStr::new("bin"));
    for folder in runtime.iter().flat_map(|runtime| {
        runtime
            .name
            .parent()
            .map(PathBuf::from)
            .into_iter()
            .chain(runtime.folders.iter().filter(bin).cloned())
    }) {
        if !folders.contains(&folder) {
            folders.push(folder);
        }
    }
    folders.iter().map(|folder| bytes(folder)).collect::<Vec<_>>().join(&b':')
}

fn bytes(path: &Path) -> Vec<u8> {
    path.as_os_str().as_encoded_bytes().to_vec()
}
