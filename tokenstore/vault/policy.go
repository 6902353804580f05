package vault

import (
	"fmt"
	"strings"
)

// rule is one path of a policy.
type rule struct {
	why          string
	path         string
	capabilities []string
}

// ServicePolicy returns the Vault policy (HCL) of the service: it reads and updates the accounts that exist. It creates
// and deletes none. mount and prefix as in [Config].
func ServicePolicy(mount, prefix string) string {
	return render("What the tokenward service may do, and no more.", []rule{
		{"the accounts: read them, save renewed tokens", mount + "/data/" + prefix + "/*", []string{"read", "update"}},
		{"their versions, to see changes", mount + "/metadata/" + prefix + "/*", []string{"read"}},
		{"their names", mount + "/metadata/" + prefix, []string{"list"}},
		{"its own token (also in the default policy)", "auth/token/lookup-self", []string{"read"}},
		{"", "auth/token/renew-self", []string{"update"}},
		{"", "auth/token/revoke-self", []string{"update"}},
		{"", "sys/capabilities-self", []string{"update"}},
	})
}

// OperatorPolicy returns the Vault policy (HCL) of people and tools that manage accounts, with `vault kv` or with
// `tokenward accounts`: also create, patch, delete, undelete, roll back.
func OperatorPolicy(mount, prefix string) string {
	return render("What operators of tokenward's accounts may do, with vault kv or tokenward accounts.", []rule{
		{
			"the accounts: kv put, patch, get, delete, rollback",
			mount + "/data/" + prefix + "/*",
			[]string{"create", "read", "update", "patch", "delete"},
		},
		{
			"their history and settings: kv metadata",
			mount + "/metadata/" + prefix + "/*",
			[]string{"create", "read", "update", "patch", "delete", "list"},
		},
		{"their names", mount + "/metadata/" + prefix, []string{"list"}},
		{
			"single versions: kv delete -versions, kv undelete, kv destroy",
			mount + "/delete/" + prefix + "/*",
			[]string{"update"},
		},
		{"", mount + "/undelete/" + prefix + "/*", []string{"update"}},
		{"", mount + "/destroy/" + prefix + "/*", []string{"update"}},
		{"asked before a deletion (also in the default policy)", "sys/capabilities-self", []string{"update"}},
	})
}

func render(title string, rules []rule) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# %s\n# Generated from tokenstore/vault/policy.go for the default mount and prefix.\n", title)
	for _, r := range rules {
		if r.why != "" {
			fmt.Fprintf(&b, "\n# %s\n", r.why)
		}
		fmt.Fprintf(&b, "path %q { capabilities = [\"%s\"] }\n", r.path, strings.Join(r.capabilities, `", "`))
	}
	return b.String()
}
