#!/bin/sh
# Prepares a Vault for tokenward: a KV v2 mount, the policies of service and operators, an AppRole for the service. Safe to
# run again. Needs the vault program with VAULT_ADDR and a VAULT_TOKEN that may do this. Plain POSIX shell: Vault's own image
# has no other.
#
#   deploy/vault/setup.sh [folder for role_id and secret_id; default: .]
#
# MOUNT (secret), PREFIX (tokenward/accounts), NAME (tokenward) and VAULT (the program) may be set in the environment.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
out=${1:-.}
vault=${VAULT:-vault}
mount=${MOUNT:-secret} prefix=${PREFIX:-tokenward/accounts} name=${NAME:-tokenward}
umask 077

if options=$("$vault" read -field=options "sys/mounts/$mount" 2>/dev/null); then
	case $options in
	*version:2*) echo "mount $mount/: is there, KV v2" ;;
	*) echo "mount $mount/ is no KV v2 secrets engine (options: $options): set MOUNT to another name" >&2; exit 1 ;;
	esac
else
	"$vault" secrets enable -path="$mount" -version=2 kv >/dev/null
	tries=0
	until "$vault" write "$mount/config" max_versions=30 >/dev/null 2>&1 || [ "$tries" -ge 50 ]; do # a fresh mount is not ready at once
		tries=$((tries + 1))
		sleep 0.2
	done
	echo "mount $mount/: enabled, KV v2, 30 versions are kept"
fi

for role in service operator; do
	policy=$(sed -e "s#\"secret/#\"$mount/#; s#/tokenward/accounts#/$prefix#" "$here/$role.hcl")
	printf '%s\n' "$policy" | "$vault" policy write "$name-$role" - >/dev/null
	echo "policy $name-$role: written"
done

if ! "$vault" read sys/auth/approle >/dev/null 2>&1; then
	"$vault" auth enable approle >/dev/null
fi
"$vault" write "auth/approle/role/$name" token_policies="$name-service" token_no_default_policy=true token_period=30m secret_id_ttl=0 secret_id_num_uses=0 >/dev/null
echo "AppRole $name: tokens with policy $name-service, renewed every 20 minutes"

mkdir -p "$out"
"$vault" read -field=role_id "auth/approle/role/$name/role-id" >"$out/role_id"
if [ ! -s "$out/secret_id" ]; then
	"$vault" write -f -field=secret_id "auth/approle/role/$name/secret-id" >"$out/secret_id"
fi
echo "role id:   $out/role_id    (store.vault.auth.approle.role_id)"
echo "secret id: $out/secret_id  (store.vault.auth.approle.secret_id_file; mode 0600, keep it so)"
