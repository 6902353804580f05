# What the tokenward service may do, and no more.
# Generated from tokenstore/vault/policy.go for the default mount and prefix.

# the accounts: read them, save renewed tokens
path "secret/data/tokenward/accounts/*" { capabilities = ["read", "update"] }

# their versions, to see changes
path "secret/metadata/tokenward/accounts/*" { capabilities = ["read"] }

# their names
path "secret/metadata/tokenward/accounts" { capabilities = ["list"] }

# its own token (also in the default policy)
path "auth/token/lookup-self" { capabilities = ["read"] }
path "auth/token/renew-self" { capabilities = ["update"] }
path "auth/token/revoke-self" { capabilities = ["update"] }
path "sys/capabilities-self" { capabilities = ["update"] }
