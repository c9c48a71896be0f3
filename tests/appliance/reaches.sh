#!/bin/bash
# Stands where cloudflared does, with its user, its unit and its place among the firewall's rules, and says what it reaches.
# curl's 7: no connection. What is said on one that stands is the other end's affair.
connects() {
  curl -s -m 5 -o /dev/null --unix-socket "$1" http://x/
  [ $? -ne 7 ] && echo yes || echo no
}
reads() { cat "$1" >/dev/null 2>&1 && echo yes || echo no; }
port() { timeout 5 bash -c "exec 3<>/dev/tcp/127.0.0.1/$1" 2>/dev/null && echo yes || echo no; }
echo "reaches webhook $(connects /run/openclaw/tunnel/webhook.sock)"
echo "reaches credential $(reads "$CREDENTIALS_DIRECTORY/openclaw.tunnel.json")"
echo "reaches egress-door $(connects /run/openclaw/egress-gateway.sock)"
echo "reaches runner-door $(connects /run/openclaw/runner-gateway.sock)"
echo "reaches admin $(connects /var/lib/openclaw/gateway/admin.sock)"
echo "reaches operator $(connects /var/lib/openclaw/egress/operator.sock)"
echo "reaches system-bus $(test -e /run/dbus/system_bus_socket && echo yes || echo no)"
echo "reaches journal $(test -e /run/systemd/journal/stdout && echo yes || echo no)"
echo "reaches ssh $(port 22)"
echo "reaches configuration $(reads /var/lib/openclaw/openclaw.toml)"
echo "reaches keys $(reads /etc/credstore/openclaw.keys.env)"
exec systemd-notify --ready --exec \; sleep infinity
