package tlsfile

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
)

// Every is how often the files are looked at.
const Every = 5 * time.Second

// Files are the files of a process. Between Start and Stop they are read again. A nil *Files reads each file once, as
// short commands do. Safe for concurrent use.
type Files struct {
	log     *zap.Logger
	stop    context.CancelFunc
	stopped sync.WaitGroup
	looking sync.Mutex // one look at a time

	mu  sync.Mutex // guards all
	all []watched
}

// watched is a Value of any type.
type watched interface {
	look(log *zap.Logger)
	measure(chan<- prometheus.Metric)
}

// New returns Files that tell log of changes.
func New(log *zap.Logger) *Files { return &Files{log: log} }

// Start reads the files again every five seconds, until Stop.
func (f *Files) Start(context.Context) error { //nolint:contextcheck // until Stop
	life, cancel := context.WithCancel(context.Background())
	f.stop = cancel
	f.stopped.Go(func() {
		tick := time.NewTicker(Every)
		defer tick.Stop()
		for {
			select {
			case <-life.Done():
				return
			case <-tick.C:
				f.Look()
			}
		}
	})
	return nil
}

// Stop ends what Start began.
func (f *Files) Stop(context.Context) error {
	f.stop()
	f.stopped.Wait()
	return nil
}

// Look reads all files again, now.
func (f *Files) Look() {
	f.looking.Lock()
	defer f.looking.Unlock()
	for _, w := range f.watched() {
		w.look(f.log)
	}
}

func (f *Files) watched() []watched {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.all)
}

var (
	rejected = prometheus.NewDesc("tokenward_tls_files_rejected",
		"1: the files as they are now cannot be used, and what they held before is; see the log for why.",
		[]string{"files"}, nil)
	ends = prometheus.NewDesc("tokenward_tls_certificate_expiry_timestamp_seconds",
		"When the certificate in use ends.", []string{"files"}, nil)
)

// Describe implements prometheus.Collector.
func (f *Files) Describe(out chan<- *prometheus.Desc) { out <- rejected; out <- ends }

// Collect implements prometheus.Collector.
func (f *Files) Collect(out chan<- prometheus.Metric) {
	for _, w := range f.watched() {
		w.measure(out)
	}
}

// Value is what a set of files holds.
type Value[T any] struct {
	name    string // as the configuration calls them
	paths   []string
	parse   func(contents [][]byte) (T, error)
	usable  func(T) error     // more that is asked of what takes the place of a good one; nil: nothing
	ends    func(T) time.Time // nil: it has no end
	current atomic.Pointer[T]
	used    [sha256.Size]byte // what current was made of; only look writes it
	failure atomic.Pointer[string]
}

// Get returns what is in use; the zero T when no file is configured. It does no I/O.
func (v *Value[T]) Get() T { return *v.current.Load() }

// load reads the files for the first time, and has f read them again.
func load[T any](f *Files, v *Value[T]) (*Value[T], error) {
	contents, err := read(v.paths)
	if err != nil {
		return nil, wrong(v.name, err)
	}
	made, err := v.parse(contents)
	if err != nil {
		return nil, wrong(v.name, err)
	}
	v.used = sum(contents)
	v.current.Store(&made)
	if f != nil {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.all = append(f.all, v)
	}
	return v, nil
}

// look takes what the files hold now, if it can be used.
func (v *Value[T]) look(log *zap.Logger) {
	contents, err := read(v.paths)
	if err == nil && sum(contents) != v.used {
		var made T
		if made, err = v.parse(contents); err == nil && v.usable != nil {
			err = v.usable(made)
		}
		if err == nil {
			v.used = sum(contents)
			v.current.Store(&made)
			v.failure.Store(nil)
			log.Info("TLS files have changed: new connections use them", v.event("tls_files_changed")...)
			return
		}
	}
	switch was := v.failure.Load(); {
	case err == nil && was != nil:
		v.failure.Store(nil)
		log.Info("TLS files are again as they are in use", v.event("tls_files_changed")...)
	case err != nil && (was == nil || *was != err.Error()):
		said := err.Error()
		v.failure.Store(&said)
		log.Warn("TLS files cannot be used as they are now: what they held before stays in use",
			append(v.event("tls_files_rejected"), zap.Error(wrong(v.name, err)))...)
	}
}

func (v *Value[T]) event(name string) []zap.Field {
	return []zap.Field{zap.String("event", name), zap.String("files", v.name)}
}

func (v *Value[T]) measure(out chan<- prometheus.Metric) {
	bad := 0.0
	if v.failure.Load() != nil {
		bad = 1
	}
	out <- prometheus.MustNewConstMetric(rejected, prometheus.GaugeValue, bad, v.name)
	if v.ends != nil {
		out <- prometheus.MustNewConstMetric(ends, prometheus.GaugeValue, float64(v.ends(v.Get()).Unix()), v.name)
	}
}

func read(paths []string) ([][]byte, error) {
	contents := make([][]byte, len(paths))
	for i, p := range paths {
		var err error
		if contents[i], err = os.ReadFile(p); err != nil {
			return nil, err
		}
	}
	return contents, nil
}

// sum stands for contents, so that no key is kept for comparing.
func sum(contents [][]byte) (s [sha256.Size]byte) {
	h := sha256.New()
	for _, c := range contents {
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(c))))
		h.Write(c)
	}
	return [sha256.Size]byte(h.Sum(s[:0]))
}
