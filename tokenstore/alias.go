package tokenstore

import (
	"github.com/tokenward/tokenward/tokenstore/record"
	"github.com/tokenward/tokenward/tokenstore/rotation"
	"github.com/tokenward/tokenward/tokenstore/selection"
	"github.com/tokenward/tokenward/tokenstore/verdict"
)

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
	WhyDeleted       = record.WhyDeleted

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
	TriggerOperator = record.TriggerOperator
)

// Functions on records.
var (
	DecodeRecord   = record.Decode
	EncodeRecord   = record.Encode
	Fingerprint    = record.Fingerprint
	Flaw           = record.Flaw
	NewIncarnation = record.NewIncarnation
	NewSecret      = record.NewSecret
	ReadSecret     = record.ReadSecret
	Redact         = record.Redact
	Replace        = record.Replace
)

// ErrUnreadable is matched by every error about a record that cannot be decoded or used.
var ErrUnreadable = record.ErrUnreadable

// What answers mean has a package of its own, too.
type (
	Class        = verdict.Class
	Header       = verdict.Header
	HeaderGetter = verdict.HeaderGetter
	Reason       = verdict.Reason
	Refusal      = verdict.Refusal
	Response     = verdict.Response
	Scope        = verdict.Scope
	Verdict      = verdict.Verdict
)

// Names of the values of these types.
const (
	ClassOK             = verdict.ClassOK
	ClassTokenRejected  = verdict.ClassTokenRejected
	ClassForbidden      = verdict.ClassForbidden
	ClassAccountBlocked = verdict.ClassAccountBlocked
	ClassBilling        = verdict.ClassBilling
	ClassRateLimited    = verdict.ClassRateLimited
	ClassOverloaded     = verdict.ClassOverloaded
	ClassProviderFault  = verdict.ClassProviderFault
	ClassRequestFault   = verdict.ClassRequestFault
	ClassMisconfigured  = verdict.ClassMisconfigured
	ClassEgress         = verdict.ClassEgress
	ClassUnreachable    = verdict.ClassUnreachable

	ScopeRequest      = verdict.ScopeRequest
	ScopeAccount      = verdict.ScopeAccount
	ScopeOrganisation = verdict.ScopeOrganisation
	ScopeProvider     = verdict.ScopeProvider
	ScopeEgress       = verdict.ScopeEgress

	ReasonCredentialsRefused  = verdict.ReasonCredentialsRefused
	ReasonNoHealthyAccount    = verdict.ReasonNoHealthyAccount
	ReasonAllCooling          = verdict.ReasonAllCooling
	ReasonUnknownRoute        = verdict.ReasonUnknownRoute
	ReasonTenantDenied        = verdict.ReasonTenantDenied
	ReasonStoreUnavailable    = verdict.ReasonStoreUnavailable
	ReasonUpstreamUnreachable = verdict.ReasonUpstreamUnreachable
)

// Classes are all classes of answers.
func Classes() []Class { return verdict.Classes() }

// Who serves has a package of its own, too.
type (
	Cooldown       = selection.Cooldown
	Full           = selection.Full
	PoolConfig     = selection.PoolConfig
	RouteConfig    = selection.RouteConfig
	Trail          = selection.Trail
	UpstreamConfig = selection.UpstreamConfig
)

// Selection policies.
const (
	LeastLoaded = selection.LeastLoaded
	RoundRobin  = selection.RoundRobin
)

// How credentials are kept alive has a package of its own, too.
type (
	Backend        = rotation.Backend
	Estimator      = rotation.Estimator
	Grant          = rotation.Grant
	Head           = rotation.Head
	Journal        = rotation.Journal
	JournalEntry   = rotation.JournalEntry
	Redeemer       = rotation.Redeemer
	RefreshError   = rotation.RefreshError
	RefreshOutcome = rotation.RefreshOutcome
	RefreshResult  = rotation.RefreshResult
	RenewalConfig  = rotation.RenewalConfig
	Renewer        = rotation.Renewer
	ReplayPolicy   = rotation.ReplayPolicy
)

// Names of the values of these types.
const (
	Adopted   = rotation.Adopted
	Failed    = rotation.Failed
	Fresh     = rotation.Fresh
	Refreshed = rotation.Refreshed
	Skipped   = rotation.Skipped

	ReplayGrace      = rotation.ReplayGrace
	ReplayNoRotation = rotation.ReplayNoRotation
	ReplayStrict     = rotation.ReplayStrict
)

// The errors of a [Backend] and of refreshes, to be matched with errors.Is.
var (
	ErrConflict = rotation.ErrConflict
	ErrDeleted  = rotation.ErrDeleted
	ErrNotFound = rotation.ErrNotFound
	ErrPaused   = rotation.ErrPaused
	ErrWithheld = rotation.ErrWithheld
)
