package tokenstore

import (
	"go.uber.org/zap/zapcore"

	"github.com/tokenward/tokenward/tokenstore/verdict"
)

// said is how an event is put into words. Its name is for machines.
type said struct {
	level    zapcore.Level
	sentence string
}

// What a human should hear of is a warning; the rest tells the story around it.
var events = map[string]said{
	"config_loaded":          {zapcore.InfoLevel, "the service has its configuration, and the accounts of its store"},
	"store_lost":             {zapcore.WarnLevel, "the store does not answer: tokens are served from memory"},
	"store_restored":         {zapcore.WarnLevel, "the store answers again"},
	"token_expired_detected": {zapcore.InfoLevel, "an access token has ended or was refused: it is refreshed"},
	"refresh_started":        {zapcore.InfoLevel, "a new access token is asked for at the token endpoint"},
	"refresh_succeeded":      {zapcore.InfoLevel, "the account has a new access token"},
	"refresh_failed":         {zapcore.WarnLevel, "the account did not get a new access token"},
	"refresh_adopted":        {zapcore.InfoLevel, "another process had got a newer token already: it is adopted"},
	"refresh_ambiguous":      {zapcore.WarnLevel, "a refresh got no readable answer: its refresh token may be spent"},
	"rotation_unsaved":       {zapcore.WarnLevel, "a rotated credential is in memory, and not yet in the store"},
	"rotation_saved":         {zapcore.InfoLevel, "the rotated credential is in the store"},
	"rotation_restored":      {zapcore.WarnLevel, "the record had a spent credential: the latest one is put back"},
	"account_adopted":        {zapcore.InfoLevel, "the record holds a newer credential: it is adopted"},
	"account_quarantined":    {zapcore.WarnLevel, "the account's credential is dead: somebody has to give it a new one"},
	"credential_rejected": {
		zapcore.WarnLevel,
		"the credential that the account was given does not work: the former one is in use again",
	},
	"account_removed":   {zapcore.WarnLevel, "the account is gone from the store"},
	"record_slip":       {zapcore.WarnLevel, "a key of the account's record needs a look"},
	"record_ends":       {zapcore.WarnLevel, "the account's record will be deleted by the store"},
	"account_paused":    {zapcore.WarnLevel, "the account is paused"},
	"account_recovered": {zapcore.WarnLevel, "the account serves and refreshes again"},
	"cooldown_set":      {zapcore.InfoLevel, "the account is left out for a while"},
	"cooldown_released": {zapcore.InfoLevel, "the account may serve again"},
	"failover_decided":  {zapcore.InfoLevel, "the request goes on with another account"},
	"retry_decided":     {zapcore.InfoLevel, "the request is tried again"},
	"request_faulted":   {zapcore.InfoLevel, "several accounts refused a request alike: it is to blame"},
	"request_refused":   {zapcore.WarnLevel, "the gateway refused a request"},
}

// wordsOf puts a class of answers into words: the sentence of upstream_classified.
var wordsOf = map[verdict.Class]string{
	verdict.ClassOK:             "the provider accepted the attempt",
	verdict.ClassTokenRejected:  "the provider refused the token",
	verdict.ClassForbidden:      "the provider does not let the account do this",
	verdict.ClassRateLimited:    "the provider limits the account's rate",
	verdict.ClassBilling:        "the provider says that the account has no credit",
	verdict.ClassAccountBlocked: "the provider has blocked the account",
	verdict.ClassOverloaded:     "the provider is overloaded",
	verdict.ClassProviderFault:  "the provider failed",
	verdict.ClassRequestFault:   "the provider finds fault with the request",
	verdict.ClassMisconfigured:  "the provider's answer points at our configuration",
	verdict.ClassEgress:         "something on the way to the provider refused the attempt",
	verdict.ClassUnreachable:    "the upstream could not be reached",
}
