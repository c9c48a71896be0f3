//! What a peer's device is given: a configuration that every WireGuard client reads, as text and as a QR code. It is shown once
//! and kept nowhere.

use std::{fmt::Write as _, io::IsTerminal};

use anstyle::{AnsiColor, Style};
use openclaw_wire::facts::FACTS;
use qrcode::{EcLevel, QrCode, render::unicode::Dense1x2};
use zeroize::Zeroizing;

use super::{
    book::Peer,
    key::{Private, Public},
};

/// How often a client behind a router says that it is there, in seconds, so that the router keeps the way open.
const KEEPALIVE: u32 = 25;

/// The client's whole configuration. Without a private key here it is the client's own, and a line says so.
pub fn config(peer: &Peer, private: Option<&Private>, server: &Public, endpoint: &str) -> Zeroizing<String> {
    let key = match private {
        Some(key) => Zeroizing::new(format!("PrivateKey = {}", key.expose())),
        None => Zeroizing::new("# PrivateKey = the one whose public key was given".to_owned()),
    };
    let (own, machine) = (ipnet::IpNet::from(peer.address), ipnet::IpNet::from(FACTS.vpn.address));
    // Only this machine is reached through it: the device's other traffic goes its usual way.
    Zeroizing::new(format!(
        "[Interface]\n{}\nAddress = {own}\n\n[Peer]\nPublicKey = {server}\nEndpoint = {endpoint}\n\
         AllowedIPs = {machine}\nPersistentKeepalive = {KEEPALIVE}\n",
        key.as_str()
    ))
}

/// The text as a QR code for the terminal: two modules in each character, dark on light whatever the terminal's colours.
pub fn qr(text: &str) -> anyhow::Result<Zeroizing<String>> {
    let code = QrCode::with_error_correction_level(text, EcLevel::L)?;
    // The glyphs are the light modules: white on black.
    let image = code.render::<Dense1x2>().dark_color(Dense1x2::Light).light_color(Dense1x2::Dark).build();
    let image = Zeroizing::new(image);
    if !std::io::stdout().is_terminal() {
        return Ok(image);
    }
    let style = Style::new().fg_color(Some(AnsiColor::White.into())).bg_color(Some(AnsiColor::Black.into()));
    let mut coloured = Zeroizing::new(String::new());
    for line in image.lines() {
        writeln!(coloured, "{style}{line}{style:#}")?;
    }
    Ok(coloured)
}

#[cfg(test)]
mod tests {
    use super::{Peer, config, qr};
    use crate::command::vpn::key::Private;

    /// Another library's reader sees what was meant, as a camera would see the terminal.
    #[test]
    fn a_reader_of_qr_codes_reads_the_configuration() {
        let private = Private::new().expect("a key");
        let public_key = private.public().expect("computes");
        let peer =
            Peer { name: "phone".into(), public_key: public_key.clone(), address: [10, 77, 0, 2].into() };
        let text = config(&peer, Some(&private), &public_key, "vpn.example.com:51820");
        for line in
            ["Address = 10.77.0.2/32", "AllowedIPs = 10.77.0.1/32", "Endpoint = vpn.example.com:51820"]
        {
            assert!(text.lines().any(|found| found == line), "{line}");
        }
        let lines: Vec<Vec<char>> =
            qr(&text).expect("fits").lines().map(|line| line.chars().collect()).collect();
        let (width, height) = (lines[0].len(), 2 * lines.len());
        const SCALE: usize = 4;
        let light = |x: usize, y: usize| match (lines[y / 2].get(x), y % 2) {
            (Some('█'), _) | (Some('▀'), 0) | (Some('▄'), 1) => 255,
            _ => 0,
        };
        let mut image = rqrr::PreparedImage::prepare_from_greyscale(width * SCALE, height * SCALE, |x, y| {
            light(x / SCALE, y / SCALE)
        });
        let grids = image.detect_grids();
        assert_eq!(grids.len(), 1, "one code");
        let (_, read) = grids[0].decode().expect("decodes");
        assert_eq!(read, *text);
    }

    #[test]
    fn a_device_with_its_own_key_is_given_none() {
        let public_key = Private::new().and_then(|key| key.public()).expect("a key");
        let peer =
            Peer { name: "laptop".into(), public_key: public_key.clone(), address: [10, 77, 0, 3].into() };
        let text = config(&peer, None, &public_key, "h:1");
        assert!(!text.lines().any(|line| line.starts_with("PrivateKey")), "{}", *text);
    }
}
