package config

func (k *checker) checkStore() {
	v := k.config.Store.Vault
	if v == nil {
		s := k.config.Store.SQLite
		for _, p := range []struct{ key, value string }{{"path", s.Path}, {"key_file", s.KeyFile}} {
			if p.value == "" {
				k.bad("store.sqlite."+p.key, "", "must not be empty", "remove it for the default")
			}
		}
		return
	}
	if k.values["store.sqlite"] != nil {
		k.bad("store", "", "has both sqlite and vault", "keep one")
	}
	for _, p := range append(v.Problems(), v.Auth.Problems()...) {
		k.bad("store.vault."+p.Key, p.Value, p.Rule, p.Remedy)
	}
	if lead := k.config.Renewal.Lead; lead > 0 && v.Poll > lead/10 {
		k.bad("store.vault.poll", v.Poll.String(), "must be at most a tenth of renewal.lead ("+lead.String()+")",
			"or a change by an operator is seen too late")
	}
}
