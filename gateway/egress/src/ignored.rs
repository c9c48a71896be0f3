//! A key file in a work tree of a version control is one `git add` away from being published, unless a rule says that
//! it is ignored.

use std::path::Path;

use openclaw_wire::ignored::{Tracked, tracked};

use crate::private_file::{Refused, quoted};

/// Refuses a file that a version control could take along.
pub fn check(file: &Path) -> Result<(), Refused> {
    match tracked(file) {
        None => Ok(()),
        Some(Tracked::Other { tree, name }) => Err(Refused::new(
            file,
            format!("lies in {}, which is under version control ({name})", tree.display()),
            "move it out of that folder, and name its place as `file` in section [keys]",
        )),
        Some(Tracked::Git { tree, rule }) => Err(Refused::new(
            file,
            format!("lies in {}, which is under version control, and no rule ignores it", tree.display()),
            format!("echo '{rule}' >> {}", quoted(&tree.join(".gitignore"))),
        )),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::check;

    #[test]
    fn a_file_in_a_work_tree_is_refused_until_the_mend_is_done() {
        let dir = tempfile::tempdir().expect("dir");
        let tree = fs::canonicalize(dir.path()).expect("path");
        fs::create_dir_all(tree.join("keys")).expect("folders");
        let file = tree.join("keys/.env");
        fs::write(&file, "A=1").expect("write");
        check(&file).expect("no version control");
        fs::create_dir(tree.join(".git")).expect("folder");
        let error = check(&file).expect_err("refused").to_string();
        let mend = format!("mend: echo '/keys/.env' >> {}", tree.join(".gitignore").display());
        assert!(error.ends_with(&mend), "{error}");
        fs::write(tree.join(".gitignore"), "/keys/.env\n").expect("mended");
        check(&file).expect("ignored now");

        fs::remove_dir(tree.join(".git")).expect("removed");
        fs::create_dir(tree.join(".hg")).expect("folder");
        assert!(check(&file).expect_err("refused").to_string().contains("(.hg)"));
    }
}
