#!/bin/sh
# Prepares a Vault for tokenward: a KV v2 mount, the policies of service and operators, an AppRole for the service. Safe to
# run again: a secret_id that Vault knows is kept. Needs the vault program with VAULT_ADDR and a VAULT_TOKEN that may do this.
# Plain POSIX shell: Vault's own image has no other.
#
#   deploy/vault/setup.sh [folder for role_id and secret_id; default: .]
#
# MOUNT (secret), PREFIX (tokenward/accounts), NAME (tokenward) and VAULT (the program) may be set in the environment, and
# what bounds the AppRole's secret ids: SECRET_ID_TTL (0: no end), SECRET_ID_USES (0: any number of logins) and
# BOUND_CIDRS (empty: from any address), e.g. 10.0.0.0/8,192.0.2.7/32, which holds for the tokens too. An end and a number
# of uses are given to new secret ids; remove one to get another.
set -eu
export LC_ALL=C
here=$(cd "$(dirname "$0")" && pwd)
out=${1:-.}
vault=${VAULT:-vault}
umask 077

fail() {
	echo "setup.sh: $*" >&2
	exit 1
}

# path KEY VALUE prints the value without slashes at its ends. What it lets through means nothing else in a policy or to sed.
path() {
	p=$2
	while [ "$p" != "${p#/}" ]; do p=${p#/}; done
	while [ "$p" != "${p%/}" ]; do p=${p%/}; done
	case $p in
	'' | [.-]* | */.* | *//* | *[!A-Za-z0-9._/-]*) fail "reading $1: \"$2\" cannot be used: give names of a-z A-Z 0-9 . _ - separated by single slashes; nothing was changed" ;;
	esac
	printf '%s' "$p"
}

# may PATH fails unless our token may write there.
may() {
	case $("$vault" token capabilities "$1" 2>&1) in
	*root* | *create* | *update*) ;;
	*) fail "preparing Vault at ${VAULT_ADDR:-its default address}: the policy of VAULT_TOKEN does not allow to write $1: use a token of somebody who may enable mounts and write policies; nothing was changed" ;;
	esac
}

mount=$(path MOUNT "${MOUNT:-secret}")
prefix=$(path PREFIX "${PREFIX:-tokenward/accounts}")
name=$(path NAME "${NAME:-tokenward}")
case $name in */*) fail "reading NAME: \"$name\" has a slash: give one name of a-z A-Z 0-9 . _ -; nothing was changed" ;; esac
# bound KEY VALUE CHARACTERS EXAMPLE prints the value, if it is of the characters.
bound() {
	case $2 in
	*[!$3]*) fail "reading $1: \"$2\" cannot be used: give e.g. $4; nothing was changed" ;;
	esac
	printf '%s' "$2"
}
ttl=$(bound SECRET_ID_TTL "${SECRET_ID_TTL:-0}" 0-9smhd "0 or 720h")
uses=$(bound SECRET_ID_USES "${SECRET_ID_USES:-0}" 0-9 "0 or 50")
cidrs=$(bound BOUND_CIDRS "${BOUND_CIDRS:-}" 0-9A-Fa-f.:/, "10.0.0.0/8,192.0.2.7/32")
command -v "$vault" >/dev/null 2>&1 || fail "running $vault: there is no such program: install Vault's, or set VAULT to where it is; nothing was changed"
if ! words=$("$vault" token lookup 2>&1 >/dev/null); then
	words=$(printf '%s' "$words" | tr -s '\n\t ' ' ')
	fail "asking Vault at ${VAULT_ADDR:-its default address} about VAULT_TOKEN: $words: check VAULT_ADDR, VAULT_CACERT and VAULT_TOKEN; nothing was changed"
fi
for p in "sys/policies/acl/$name-service" "sys/policies/acl/$name-operator" "auth/approle/role/$name" "auth/approle/role/$name/secret-id"; do
	may "$p"
done

if "$vault" read "sys/mounts/$mount" >/dev/null 2>&1; then
	options=$("$vault" read -field=options "sys/mounts/$mount" 2>/dev/null) || options=none
	case $options in
	*version:2*) echo "mount $mount/: is there, KV v2" ;;
	*) fail "mount $mount/ is no KV v2 secrets engine (options: $options): set MOUNT to another name; nothing was changed" ;;
	esac
else
	may "sys/mounts/$mount"
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
"$vault" write "auth/approle/role/$name" token_policies="$name-service" token_no_default_policy=true token_period=30m \
	secret_id_ttl="$ttl" secret_id_num_uses="$uses" secret_id_bound_cidrs="$cidrs" token_bound_cidrs="$cidrs" >/dev/null
echo "AppRole $name: tokens with policy $name-service, renewed every 20 minutes"

mkdir -p "$out"
"$vault" read -field=role_id "auth/approle/role/$name/role-id" >"$out/role_id"
known= # by this role: it may be another one than that of an earlier run, or Vault another Vault
if [ -s "$out/secret_id" ]; then
	known=$(printf '%s' "$(cat "$out/secret_id")" | "$vault" write -format=json "auth/approle/role/$name/secret-id/lookup" secret_id=- 2>/dev/null) || known=
fi
case $known in
*secret_id_accessor*) what="kept" ;;
*)
	"$vault" write -f -field=secret_id "auth/approle/role/$name/secret-id" >"$out/secret_id.new"
	mv -f "$out/secret_id.new" "$out/secret_id"
	what="new"
	;;
esac
echo "role id:   $out/role_id    (store.vault.auth.approle.role_id_file)"
echo "secret id: $out/secret_id  ($what; store.vault.auth.approle.secret_id_file; mode 0600, keep it so)"
