package provider

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"syscall"

	"golang.org/x/net/http2"
)

// transportWords says why there is no answer, in plain words where they are known. The outer errors quote the URL.
func transportWords(err error) string {
	var (
		dns     *net.DNSError
		dial    *net.OpError
		stream  http2.StreamError
		goAway  http2.GoAwayError //nolint:staticcheck // as in oneshot.go
		timeout net.Error
		away    *turnedAwayError
	)
	var untrusted *tls.CertificateVerificationError
	var noTLS tls.RecordHeaderError
	switch {
	case errors.As(err, &untrusted):
		return "the server's certificate is not trusted: " + untrusted.Err.Error()
	case errors.Is(err, http.ErrSchemeMismatch), errors.As(err, &noTLS):
		return "the server does not speak TLS"
	case errors.Is(err, context.Canceled):
		return "it was given up: the service is stopping"
	case errors.As(err, &away):
		return "the server turned the request away unread: it is shutting down or has no room"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return "no answer in time"
	case errors.As(err, &dns):
		return "the name " + dns.Name + " cannot be resolved"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "nothing listens at the address: the connection was refused"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF),
		errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "the server closed the connection before its answer was complete"
	case errors.As(err, &stream):
		return "the server broke the request off (HTTP/2 " + stream.Code.String() + ")"
	case errors.As(err, &goAway):
		return "the server ended the connection before its answer was complete (HTTP/2 " + goAway.ErrCode.String() + ")"
	case errors.As(err, &dial) && dial.Op == "dial":
		return "the connection failed: " + dial.Err.Error()
	}
	if u, ok := errors.AsType[*url.Error](err); ok {
		return u.Err.Error()
	}
	return err.Error()
}
