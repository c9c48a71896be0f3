//! Which version control could take a file along: a file in a work tree is one `git add` away from being published, unless a rule
//! says that it is ignored. Reads the rules itself (gitignore(5)) and executes nothing.

use std::path::{Path, PathBuf};

/// A version control that could take a file along.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tracked {
    /// git, and no rule ignores the file.
    Git {
        /// The work tree.
        tree: PathBuf,
        /// The rule that would, for the tree's `.gitignore`.
        rule: String,
    },
    /// Another one, whose rules nobody reads here.
    Other {
        /// The work tree.
        tree: PathBuf,
        /// Its folder: `.hg` and the like.
        name: &'static str,
    },
}

/// The version control that could take the file along; `None` when there is none.
pub fn tracked(file: &Path) -> Option<Tracked> {
    let real = std::fs::canonicalize(file).unwrap_or_else(|_| file.to_owned());
    for tree in real.ancestors().skip(1) {
        if tree.join(".git").exists() {
            let inner = real.strip_prefix(tree).unwrap_or(&real);
            // A tree around this one sees this one as a whole and takes nothing out of it.
            return (!ignored(tree, inner))
                .then(|| Tracked::Git { tree: tree.into(), rule: format!("/{}", inner.display()) });
        }
        for name in [".hg", ".svn", ".bzr", ".jj"] {
            if tree.join(name).exists() {
                return Some(Tracked::Other { tree: tree.into(), name });
            }
        }
    }
    None
}

/// Whether git would ignore the file, or a folder that it is in.
fn ignored(tree: &Path, inner: &Path) -> bool {
    let mut rules = rules_of(tree, Path::new(".git/info/exclude"), "");
    let mut folder = PathBuf::new();
    for part in inner.iter() {
        let base = folder.to_string_lossy().into_owned();
        rules.extend(rules_of(tree, &folder.join(".gitignore"), &base));
        folder.push(part);
        let last = folder == inner;
        let path = folder.to_string_lossy();
        // The last rule that fits decides; what is inside an ignored folder can't be taken back.
        let fits = rules.iter().rev().find(|rule| rule.fits(&path, !last));
        if fits.is_some_and(|rule| !rule.but) {
            return true;
        }
    }
    false
}

struct Rule {
    /// Folder of the rule's file, below the tree.
    base: String,
    /// A glob; with a slash inside it counts from `base`.
    glob: String,
    anchored: bool,
    folders_only: bool,
    but: bool,
}

fn rules_of(tree: &Path, file: &Path, base: &str) -> Vec<Rule> {
    let text = std::fs::read_to_string(tree.join(file)).unwrap_or_default();
    text.lines().filter_map(|line| Rule::parse(line, base)).collect()
}

impl Rule {
    fn parse(line: &str, base: &str) -> Option<Self> {
        let line = line.trim_end();
        if line.is_empty() || line.starts_with('#') {
            return None;
        }
        let (but, line) = line.strip_prefix('!').map_or((false, line), |rest| (true, rest));
        let (folders_only, line) = line.strip_suffix('/').map_or((false, line), |rest| (true, rest));
        let anchored = line.contains('/');
        let glob = line.strip_prefix('/').unwrap_or(line).to_owned();
        Some(Self { base: base.to_owned(), glob, anchored, folders_only, but })
    }

    fn fits(&self, path: &str, folder: bool) -> bool {
        let path = match self.base.as_str() {
            "" => path,
            base => match path.strip_prefix(base).and_then(|rest| rest.strip_prefix('/')) {
                Some(rest) => rest,
                None => return false,
            },
        };
        let name = path.rsplit('/').next().unwrap_or(path);
        (folder || !self.folders_only)
            && glob(self.glob.as_bytes(), if self.anchored { path.as_bytes() } else { name.as_bytes() })
    }
}

/// `*` and `?` stay within a name, `**` crosses slashes. Sets in brackets fit nothing: then the rule does not count.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern, text) {
        ([], []) => true,
        ([b'*', b'*', b'/', rest @ ..], _) => {
            glob(rest, text) || (0..text.len()).any(|at| text[at] == b'/' && glob(rest, &text[at + 1..]))
        }
        ([b'*', b'*', rest @ ..], _) => (0..=text.len()).any(|at| glob(rest, &text[at..])),
        ([b'*', rest @ ..], _) => {
            let name = text.iter().position(|byte| *byte == b'/').unwrap_or(text.len());
            (0..=name).any(|at| glob(rest, &text[at..]))
        }
        ([b'?', rest @ ..], [byte, more @ ..]) => *byte != b'/' && glob(rest, more),
        ([b'[', ..], _) => false,
        ([b'\\', one, rest @ ..], [byte, more @ ..]) => one == byte && glob(rest, more),
        ([one, rest @ ..], [byte, more @ ..]) => one == byte && glob(rest, more),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::ignored;

    #[test]
    fn rules_are_read_as_git_reads_them() {
        let dir = tempfile::tempdir().expect("dir");
        let tree = dir.path();
        fs::create_dir_all(tree.join("a/b")).expect("folders");
        let inner = Path::new("a/b/.env");
        let cases = [
            ("", false),
            (".env", true),
            ("# .env", false),
            ("*.env", true),
            (".env.*", false),
            ("/.env", false),
            ("/a/b/.env", true),
            ("a/b/.env", true),
            ("b/.env", false),
            ("**/b/.env", true),
            ("a/**", true),
            ("a/*/.env", true),
            ("a/*", true),
            ("*/.env", false),
            ("b/", true),
            (".env/", false),
            (".env\n!.env", false),
            ("!.env\n.env", true),
            ("a/\n!.env", true),
            ("?env", true),
            ("\\.env", true),
        ];
        for (rules, want) in cases {
            fs::write(tree.join(".gitignore"), rules).expect("rules");
            assert_eq!(ignored(tree, inner), want, "{rules:?}");
        }
        fs::write(tree.join("a/.gitignore"), "/b/.env").expect("rules");
        assert!(ignored(tree, inner), "a rule of an inner folder counts from there");
    }
}
