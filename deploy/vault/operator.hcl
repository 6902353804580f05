# What operators of tokenward's accounts may do, with vault kv or tokenward accounts.
# Generated from tokenstore/vault/policy.go for the default mount and prefix.

# the accounts: kv put, patch, get, delete, rollback
path "secret/data/tokenward/accounts/*" { capabilities = ["create", "read", "update", "patch", "delete"] }

# their history and settings: kv metadata
path "secret/metadata/tokenward/accounts/*" { capabilities = ["create", "read", "update", "patch", "delete", "list"] }

# their names
path "secret/metadata/tokenward/accounts" { capabilities = ["list"] }

# single versions: kv delete -versions, kv undelete, kv destroy
path "secret/delete/tokenward/accounts/*" { capabilities = ["update"] }
path "secret/undelete/tokenward/accounts/*" { capabilities = ["update"] }
path "secret/destroy/tokenward/accounts/*" { capabilities = ["update"] }

# asked before a deletion (also in the default policy)
path "sys/capabilities-self" { capabilities = ["update"] }
