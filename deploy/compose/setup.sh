#!/bin/sh
# What the service vault-setup of docker-compose.yaml does: prepares Vault with ../vault/setup.sh, and puts the accounts there
# that the simulated provider signs in. Needs VAULT_ADDR and VAULT_TOKEN.
#
#   deploy/compose/setup.sh FOLDER_FOR_KEYS PROVIDER_URL
set -eu
keys=$1 provider=$2

"$(dirname "$0")/../vault/setup.sh" "$keys"
vault write auth/approle/role/tokenward/role-id role_id=tokenward-demo >/dev/null # the one in tokenward.yaml; it is no secret

for account in claude-1:claude claude-2:claude backup-1:backup; do
	name=${account%:*} pool=${account#*:}
	credential=$(wget -q -O - "$provider/control/create?name=$name&lifetime=1h") # JSON with the keys of a record
	printf '%s' "$credential" | vault kv put -mount=secret "tokenward/accounts/$name" provider=sim type=ANTHROPIC_OAUTH pools="$pool" - >/dev/null
	echo "account $name: in Vault"
done
