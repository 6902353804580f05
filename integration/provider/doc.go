// Package provider is the simulated provider of `make run` and of the integration tests: an authorization server with
// strict refresh-token rotation (a reused refresh token revokes its family) and an LLM API that checks every token.
// What goes wrong is scripted per account, by Go methods or over HTTP under /control/, or per request, by the header
// x-sim. It is never part of the product.
package provider
