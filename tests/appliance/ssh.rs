//! SSH: the server of the image itself says what it would accept.

use crate::tree::Tree;

#[test]
#[ignore = "needs root: it changes into the image's tree"]
fn passwords_are_refused_and_old_algorithms_are_off() {
    let tree = Tree::new();
    tree.run("ssh-keygen -q -t ed25519 -N '' -f /etc/ssh/ssh_host_ed25519_key");
    let said = tree.run("mkdir -p /run/sshd && /usr/sbin/sshd -T").to_lowercase();
    for line in [
        "passwordauthentication no",
        "kbdinteractiveauthentication no",
        "permitemptypasswords no",
        "permitrootlogin without-password",
        "authenticationmethods publickey",
        "disableforwarding yes",
        "permituserenvironment no",
    ] {
        assert!(said.lines().any(|found| found == line), "{line} in:\n{said}");
    }
    for weak in ["sha1", "cbc", "3des", "diffie-hellman", "ecdsa-sha2-nistp", "hmac-md5", "umac-64"] {
        let lines = said.lines().filter(|line| {
            ["kexalgorithms", "ciphers", "macs", "hostkeyalgorithms"]
                .iter()
                .any(|name| line.starts_with(name))
        });
        for line in lines {
            assert!(!line.contains(weak), "{weak}: {line}");
        }
    }
}
