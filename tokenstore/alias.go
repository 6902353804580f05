package tokenstore

import "github.com/tokenward/tokenward/tokenstore/record"

// What is stored has a package of its own. The edges know it by these names.
type (
	AccountID     = record.ID
	Claim         = record.Claim
	Dead          = record.Dead
	Former        = record.Former
	Generation    = record.Generation
	Grammar       = record.Grammar
	Kind          = record.Kind
	Limits        = record.Limits
	OperatorState = record.OperatorState
	Outcome       = record.Outcome
	Record        = record.Record
	RecordError   = record.Error
	RefreshClass  = record.RefreshClass
	Rejection     = record.Rejection
	Rotation      = record.Rotation
	Secret        = record.Secret
	Slip          = record.Slip
	Trigger       = record.Trigger
	Version       = record.Version
)

// Names of the values of these types.
const (
	Active = record.Active
	Paused = record.Paused

	KindOAuthRefresh      = record.KindOAuthRefresh
	KindClientCredentials = record.KindClientCredentials
	KindAPIKey            = record.KindAPIKey
	KindAnthropicOAuth    = record.KindAnthropicOAuth
	KindClaudeCode        = record.KindClaudeCode

	LabelCopiedTo    = record.LabelCopiedTo
	LabelCopiedState = record.LabelCopiedState

	RefreshTokenText = record.RefreshTokenText
	AccessTokenText  = record.AccessTokenText
	APIKeyText       = record.APIKeyText
	ClientSecretText = record.ClientSecretText

	RefreshNotSent       = record.RefreshNotSent
	RefreshTransient     = record.RefreshTransient
	RefreshPermanent     = record.RefreshPermanent
	RefreshMisconfigured = record.RefreshMisconfigured
	RefreshUnknown       = record.RefreshUnknown

	TriggerSchedule = record.TriggerSchedule
	TriggerResponse = record.TriggerResponse
	TriggerRequest  = record.TriggerRequest
	TriggerOperator = record.TriggerOperator
)

// Functions on records.
var (
	DecodeRecord   = record.Decode
	EncodeRecord   = record.Encode
	Fingerprint    = record.Fingerprint
	Flaw           = record.Flaw
	Nearest        = record.Nearest
	NewIncarnation = record.NewIncarnation
	NewSecret      = record.NewSecret
	ReadSecret     = record.ReadSecret
	Redact         = record.Redact
	Replace        = record.Replace
)

// ErrUnreadable is matched by every error about a record that cannot be decoded or used.
var ErrUnreadable = record.ErrUnreadable
