package provider

import (
	"github.com/tokenward/tokenward/tokenstore"
)

// reply is a token endpoint's answer that grants nothing.
type reply struct {
	status  int
	problem problem
	body    []byte
}

// refusalClass says what a reply that grants nothing means for the credential. Where it does not say surely that the
// grant was not processed the outcome is unknown, as with a broken connection: a strict server revokes what is
// presented twice.
func refusalClass(rows []rule[tokenstore.RefreshClass], a reply) tokenstore.RefreshClass {
	code := exactly(a.problem.code)
	return meaning(rows, &evidence{
		status: a.status, code: plain(a.problem.code), sentence: sentence(a.problem.message), exact: code,
		foreign: !a.problem.oauth && (code != "" || a.problem.odd), body: a.body,
	})
}

// dead reports a code that, wherever it stands, says that only a new login helps.
func dead(rows []rule[tokenstore.RefreshClass], code string) bool {
	a := reply{status: 400, problem: problem{code: code}}
	return code != "" && refusalClass(rows, a) == tokenstore.RefreshPermanent
}

// explain is the message of a reply that brings none.
func explain(status int, class tokenstore.RefreshClass, readable bool) string {
	switch {
	case status >= 300 && status < 400:
		return "the token endpoint redirects; configure its final URL"
	case status < 300 && !readable:
		return "the answer is neither JSON nor a form"
	case status < 300:
		return "the answer has no access_token"
	case class == tokenstore.RefreshUnknown:
		return "the answer does not say whether the grant was processed"
	case !readable:
		return "the answer is not the token endpoint's: perhaps a proxy or firewall gave it"
	}
	return ""
}
