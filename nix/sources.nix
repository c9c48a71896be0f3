# What the appliance is made of, read from where it stands: gateway/appliance.toml, systemd/ and cloudflared/.
# Nothing is written here a second time. Only the language's own functions are used, so that this file can be evaluated,
# and tested, without nixpkgs.
let
  inherit (builtins)
    attrNames concatMap elem elemAt filter foldl' fromTOML head isString listToAttrs match readDir readFile replaceStrings
    split stringLength substring;

  systemd = ../systemd;
  linesOf = text: filter isString (split "\n" text);
  trim = text: head (match "[[:space:]]*(.*[^[:space:]])[[:space:]]*" text);
  # Without comments and empty lines.
  statements = file: map trim (filter (line: match "[[:space:]]*([#;].*)?" line == null) (linesOf (readFile file)));
  # "KEY=VALUE", with or without spaces around the sign, as sysctl.d(5) and systemd.unit(5) have it.
  values = key: text: map head (filter (found: found != null) (map (match "${key}=(.*)") (linesOf text)));
  words = text: filter (word: isString word && word != "") (split "[[:space:]]+" text);

  # Every file below a folder, by its path there.
  below = folder: prefix:
    foldl' (found: name:
      if (readDir folder).${name} == "directory"
      then found // below (folder + "/${name}") "${prefix}${name}/"
      else found // { "${prefix}${name}" = readFile (folder + "/${name}"); }) { } (attrNames (readDir folder));

  number = text: if match "0|[1-9][0-9]*" text == null then text else fromTOML "number = ${text}";
  integer = text: (number text).number or text;
in
rec {
  # The facts: ports, addresses, paths, users.
  facts = fromTOML (readFile ../gateway/appliance.toml);

  # The configuration that an appliance starts with.
  settings = fromTOML (readFile (systemd + "/openclaw.toml"));

  # Every unit and drop-in: its path in a folder of units, and its text.
  units = below (systemd + "/system") "";

  # Which of them an image enables, each with what wants it then.
  wantedBy = listToAttrs (map (unit: {
    name = unit;
    value = concatMap words (values "WantedBy" (units.${unit} or (throw "the preset enables ${unit}, which is no unit in systemd/system")));
  }) (concatMap (line: let found = match "enable (.*)" line; in if found == null then [ ] else found)
    (concatMap (name: statements (systemd + "/system-preset/${name}")) (attrNames (readDir (systemd + "/system-preset"))))));

  # What sysusers.d(5) says: users with their groups, and groups.
  sysusers =
    let
      all = concatMap (name: statements (systemd + "/sysusers.d/${name}")) (attrNames (readDir (systemd + "/sysusers.d")));
      lines = pattern: filter (found: found != null) (map (match pattern) all);
      members = lines "m +([^ ]+) +([^ ]+)";
      users = lines "u!? +([^ ]+) +- +\"([^\"]*)\" +([^ ]+)( +-)?";
      groups = lines "g +([^ ]+) +-( +-)?";
    in
    if builtins.length all != builtins.length (members ++ users ++ groups)
    then throw "systemd/sysusers.d has a line that nix/sources.nix does not understand"
    else {
      groups = map head groups;
      users = listToAttrs (map (user: {
        name = head user;
        value = {
          description = elemAt user 1;
          home = elemAt user 2;
          groups = map (member: elemAt member 1) (filter (member: head member == head user) members);
        };
      }) users);
    };

  # Lines of tmpfiles.d(5).
  tmpfiles = concatMap (name: statements (systemd + "/tmpfiles.d/${name}")) (attrNames (readDir (systemd + "/tmpfiles.d")));

  # Settings of the kernel and of the SSH server. Numbers are numbers; "yes" and "no" stay words.
  sysctl = pairs "([^= ]+) *= *(.*)" (systemd + "/sysctl.d");
  sshd = pairs "([^ ]+) +(.*)" (systemd + "/sshd_config.d");

  # The resolver's settings: the name of each file, and its text.
  resolved = below (systemd + "/resolved.conf.d") "";

  pairs = pattern: folder: listToAttrs (map (line:
    let found = match pattern line; in { name = head found; value = integer (elemAt found 1); })
    (concatMap (name: statements (folder + "/${name}")) (attrNames (readDir folder))));

  # The settings that hardening and needs of a unit make: no other file may set them anew.
  hardening = unit:
    let
      files = [ "openclaw-.service.d/00-hardening.conf" "${unit}.service.d/50-needs.conf" ];
      names = concatMap (file: map (line: head (match "([A-Za-z]+)=.*" line))
        (filter (line: match "[A-Za-z]+=.*" line != null) (linesOf (units.${file} or "")))) files;
    in
    filter (name: name != "Environment") names ++ [ "User" "Group" "SupplementaryGroups" ];

  # Names of credentials that our services import, as patterns of a match.
  credentials = map (replaceStrings [ "." "*" ] [ "[.]" ".*" ]) (concatMap (values "ImportCredential") (builtins.attrValues units));

  cloudflared = {
    version = head (statements ../cloudflared/version);
    config = ../cloudflared/config.yml;
  };

  # Where a unit's text says "/usr/lib/openclaw/...", NixOS has a path of its store. The longest prefix first.
  places = { package, cloudflared, nftables }: [
    { from = "${facts.install.programs}/cloudflared"; to = "${cloudflared}/bin/cloudflared"; }
    { from = "${installed}/cloudflared/config.yml"; to = "${../cloudflared/config.yml}"; }
    { from = facts.install.programs; to = "${package}/bin"; }
    { from = facts.install.skills; to = "${package}/skills"; }
    { from = "/usr/share/doc/openclaw"; to = "${package}/share/doc/openclaw"; }
    { from = "/usr/sbin/nft"; to = "${nftables}/bin/nft"; }
  ];
  placed = places: replaceStrings (map (place: place.from) places) (map (place: place.to) places);
  # The folder of all that is installed.
  installed = dirOf facts.install.programs;
}
