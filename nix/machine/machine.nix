# What only you know. Keys and tokens are not written here: `systemd-creds encrypt` puts them into /etc/credstore.encrypted.
{
  nixpkgs.hostPlatform = "x86_64-linux";

  services.openclaw = {
    # Public keys of those who may log in, over the VPN.
    # ssh.keys = [ "ssh-ed25519 AAAA... you@laptop" ];

    # The VPN: this machine's private key is a file that only systemd-network can read.
    # vpn.privateKeyFile = "/var/lib/wireguard/key";
    # vpn.peers = [{ publicKey = "..."; address = "10.77.0.2"; }];

    settings = {
      # Your numeric Telegram id; without it `openclaw pair` makes you the owner.
      # access.owners = [ 123456789 ];
      spend.day = 5;
    };
  };
}
