// Package s3 is an archive in a bucket of S3, or of what speaks its protocol.
package s3

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"igor.dev/archive"
)

// A Config says where a bucket is.
type Config struct {
	Endpoint string // URL, "" = AWS
	Bucket   string
	Prefix   string // before every key, "" = none
	Region   string

	// Credentials to use, nil = those of the environment (AWS_ACCESS_KEY_ID and so on), of
	// the user's files, or of the machine.
	Credentials *credentials.Credentials

	Transport http.RoundTripper // nil = a usual one
}

// ParseURL reads s3://BUCKET/PREFIX?endpoint=URL&region=REGION.
func ParseURL(s string) (c Config, err error) {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "s3" || u.Host == "" {
		return c, errors.New("want s3://BUCKET/PREFIX?endpoint=URL&region=REGION")
	}
	if u.User != nil {
		return c, errors.New("keys do not belong in a target's name: give them by AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
	}
	c.Bucket, c.Prefix = u.Host, strings.Trim(u.Path, "/")
	if c.Prefix != "" {
		if err := archive.CheckKey(c.Prefix); err != nil {
			return c, err
		}
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return c, err
	}
	for name, values := range query {
		if len(values) != 1 {
			return c, fmt.Errorf("%s is given more than once", name)
		}
		switch name {
		case "endpoint":
			c.Endpoint = values[0]
		case "region":
			c.Region = values[0]
		default:
			return c, fmt.Errorf("an S3 target has no %q: want endpoint or region", name)
		}
	}
	return c, nil
}

// A Target keeps each object of the archive in an object of a bucket.
type Target struct {
	config Config
	client *minio.Client

	mu     sync.Mutex
	probed bool // the store was seen to honour conditions
}

// Open makes a target of a config. It asks nobody yet.
func Open(c Config) (*Target, error) {
	options := &minio.Options{Creds: c.Credentials, Secure: true, Region: c.Region, Transport: c.Transport, MaxRetries: 1}
	host := "s3.amazonaws.com"
	if c.Endpoint != "" {
		u, err := url.Parse(c.Endpoint)
		if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || !survives(c.Endpoint) {
			return nil, fmt.Errorf("the endpoint %q is no URL such as https://s3.example.com", c.Endpoint)
		}
		host, options.Secure = u.Host, u.Scheme == "https"
		if options.Region == "" {
			options.Region = "us-east-1" // what nearly all of them go by
		}
	}
	if options.Creds == nil {
		options.Creds = credentials.NewChainCredentials([]credentials.Provider{
			&credentials.EnvAWS{}, &credentials.EnvMinio{}, &credentials.FileAWSCredentials{},
			&credentials.IAM{Client: &http.Client{Timeout: 5 * time.Second}},
		})
	}
	client, err := minio.New(host, options)
	if err != nil {
		return nil, err
	}
	return &Target{config: c, client: client}, nil
}

// survives reports whether a URL is read again as it is where a name has it.
func survives(endpoint string) bool {
	u, err := url.Parse("s3://bucket?endpoint=" + endpoint)
	if err != nil {
		return false
	}
	values, err := url.ParseQuery(u.RawQuery)
	return err == nil && len(values) == 1 && len(values["endpoint"]) == 1 && values.Get("endpoint") == endpoint
}

// Name implements [archive.Target].
func (t *Target) Name() string {
	u := url.URL{Scheme: "s3", Host: t.config.Bucket}
	if t.config.Prefix != "" {
		u.Path = "/" + t.config.Prefix
	}
	if t.config.Endpoint != "" {
		u.RawQuery = "endpoint=" + t.config.Endpoint
	}
	return u.String()
}

// Address implements [archive.Addressed]: the name has no region, for a bucket is the same
// one however it is found.
func (t *Target) Address() string {
	if t.config.Region == "" {
		return t.Name()
	}
	and := "?"
	if t.config.Endpoint != "" {
		and = "&"
	}
	return t.Name() + and + "region=" + url.QueryEscape(t.config.Region)
}

func (t *Target) key(key string) string {
	if t.config.Prefix == "" {
		return key
	}
	return t.config.Prefix + "/" + key
}

// Put implements [archive.Target].
func (t *Target) Put(ctx context.Context, key string, data []byte, ifAbsent bool) (s archive.Stored, err error) {
	if err := archive.CheckKey(key); err != nil {
		return s, err
	}
	condition := ""
	if ifAbsent {
		if err := t.probe(ctx); err != nil {
			return s, err
		}
		condition = absent
	}
	err = t.put(ctx, key, data, condition)
	if isRefused(err) {
		err = archive.ErrExists
	}
	return s, err
}

// absent is the condition that there is no object; others are ETags.
const absent = "*"

// conflicts is how often something is tried again because somebody else changed the same
// object at that moment.
const conflicts = 5

func (t *Target) put(ctx context.Context, key string, data []byte, condition string) error {
	// Conditions hold for an object that comes in one piece.
	o := minio.PutObjectOptions{DisableMultipart: true, ContentType: contentType(key)}
	switch condition {
	case "":
	case absent:
		o.SetMatchETagExcept(absent)
	default:
		o.SetMatchETag(condition)
	}
	for i := 0; ; i++ {
		_, err := t.client.PutObject(ctx, t.config.Bucket, t.key(key), bytes.NewReader(data), int64(len(data)), o)
		if err == nil {
			return nil
		}
		if minio.ToErrorResponse(err).StatusCode != http.StatusConflict || i == conflicts {
			return explain(err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond << i):
		}
	}
}

func contentType(key string) string {
	switch {
	case strings.HasSuffix(key, ".car"):
		return "application/vnd.ipld.car"
	case strings.HasSuffix(key, "/head"):
		return "text/plain; charset=utf-8"
	}
	return "application/octet-stream"
}

// isRefused reports whether a condition did not hold.
func isRefused(err error) bool {
	r, ok := errors.AsType[minio.ErrorResponse](err)
	return ok && r.StatusCode == http.StatusPreconditionFailed
}

// explain says which errors only somebody who looks can mend.
func explain(err error) error {
	if err == nil {
		return nil
	}
	r, ok := errors.AsType[minio.ErrorResponse](err)
	if !ok {
		return err
	}
	switch r.StatusCode {
	case http.StatusNotFound:
		if r.Code == "NoSuchKey" || r.Code == "" || r.Code == "NotFound" {
			return archive.ErrNotFound
		}
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusBadRequest, http.StatusMovedPermanently:
	default:
		return err
	}
	return &archive.PermanentError{Err: err}
}

// probe finds out whether the store honours conditions: one that does not would replace
// what must never change. Its object stays, so that nobody needs the right to delete.
func (t *Target) probe(ctx context.Context) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.probed {
		return nil
	}
	const key = "igor/probe"
	data := []byte("igor asks whether If-None-Match and If-Match are honoured here\n")
	if err := t.put(ctx, key, data, absent); err != nil && !isRefused(err) {
		return err
	}
	for _, condition := range []string{absent, "00000000000000000000000000000000"} {
		switch err := t.put(ctx, key, data, condition); {
		case err == nil:
			return &archive.PermanentError{Err: fmt.Errorf("%s replaces objects although it is asked not to (it does not know If-None-Match or If-Match): segments would not be safe there", t.Name())}
		case !isRefused(err):
			return err
		}
	}
	t.probed = true
	return nil
}

// Get implements [archive.Target].
func (t *Target) Get(ctx context.Context, key string, offset, limit int64) ([]byte, error) {
	b, _, err := t.get(ctx, key, offset, limit)
	return b, err
}

func (t *Target) get(ctx context.Context, key string, offset, limit int64) (b []byte, etag string, err error) {
	if err := archive.CheckKey(key); err != nil {
		return nil, "", err
	}
	if limit <= 0 {
		return nil, "", nil
	}
	var o minio.GetObjectOptions
	if err := o.SetRange(offset, offset+limit-1); err != nil {
		return nil, "", err
	}
	// The core client asks once, and hands over the answer as it is.
	core := minio.Core{Client: t.client}
	body, info, _, err := core.GetObject(ctx, t.config.Bucket, t.key(key), o)
	if r := minio.ToErrorResponse(err); err != nil && (r.StatusCode == http.StatusRequestedRangeNotSatisfiable || r.Code == "InvalidRange") {
		return nil, "", nil // it ends before
	}
	if err != nil {
		return nil, "", explain(err)
	}
	defer body.Close()
	b, err = io.ReadAll(io.LimitReader(body, limit))
	return b, info.ETag, err
}

// Swap implements [archive.Swapper].
func (t *Target) Swap(ctx context.Context, key string, previous, next []byte) error {
	if err := t.probe(ctx); err != nil {
		return err
	}
	condition := absent
	if previous != nil {
		have, etag, err := t.get(ctx, key, 0, int64(len(previous))+1)
		switch {
		case errors.Is(err, archive.ErrNotFound), err == nil && !bytes.Equal(have, previous):
			return archive.ErrChanged
		case err != nil:
			return err
		case etag == "":
			return &archive.PermanentError{Err: fmt.Errorf("%s gives no ETag", t.Name())}
		}
		condition = etag
	}
	err := t.put(ctx, key, next, condition)
	if isRefused(err) || errors.Is(err, archive.ErrNotFound) {
		err = archive.ErrChanged
	}
	return err
}

// List implements [archive.Target].
func (t *Target) List(ctx context.Context, prefix string, each func(archive.Entry) error) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop() // else what is not read would wait for ever
	for o := range t.client.ListObjects(ctx, t.config.Bucket, minio.ListObjectsOptions{Prefix: t.key(prefix), Recursive: true}) {
		if o.Err != nil {
			return explain(o.Err)
		}
		key := o.Key
		if t.config.Prefix != "" {
			key = strings.TrimPrefix(key, t.config.Prefix+"/")
		}
		if archive.CheckKey(key) != nil || !strings.HasPrefix(key, prefix) {
			continue // it is not of the archive
		}
		if err := each(archive.Entry{Key: key, Size: o.Size}); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// Remove removes an object, if it is there. An archive never does: what is in it is for
// ever.
func (t *Target) Remove(ctx context.Context, key string) error {
	if err := archive.CheckKey(key); err != nil {
		return err
	}
	return explain(t.client.RemoveObject(ctx, t.config.Bucket, t.key(key), minio.RemoveObjectOptions{}))
}

// Probe finds out whether the bucket can be reached, and whether the store honours
// conditions.
func (t *Target) Probe(ctx context.Context) error { return t.probe(ctx) }
