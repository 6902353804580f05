// Builds the Vault that the tests use (`make vault`), in a module of its own: Vault's licence (BUSL) and its dependencies
// stay out of ours. Of 1.21.x only 1.21.1 builds outside its own repository.
module github.com/tokenward/tokenward/integration/vaultdev

go 1.25.3

require github.com/hashicorp/vault v1.21.1
