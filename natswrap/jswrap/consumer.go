package jswrap

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	ticketing "github.com/ducnguyen96/ticketing-common"
)

// maxConsumerName is the longest name that is written out. The server allows
// 255 bytes, and the file system below it less, with what it adds.
const maxConsumerName = 200

// ConsumerName returns the name of the durable consumer of a group on a
// subject: the group, '_', and the subject with ':' as "--", '.' as "-d", '_'
// as "-u" and '-' as "-h". So group orders-srv on ticket:created is
// orders-srv_ticket--created. What follows the last '_' is the subject, so two
// pairs never share a name. One that would be longer than 200 bytes has "-x"
// and the subject's SHA-256 in the subject's place.
//
// The characters are those that the server recommends for names.
func ConsumerName(group string, s ticketing.Subject) string {
	name := group + "_" + subjectEscaper.Replace(string(s))
	if len(name) > maxConsumerName {
		sum := sha256.Sum256([]byte(s))
		name = group + "_-x" + hex.EncodeToString(sum[:])
	}
	return name
}

var subjectEscaper = strings.NewReplacer(":", "--", ".", "-d", "_", "-u", "-", "-h")

// consumerConfig is what the consumer of a subscription should be.
func consumerConfig(s ticketing.Subscription) jetstream.ConsumerConfig {
	name := ConsumerName(s.Group, s.Subject)
	return jetstream.ConsumerConfig{
		Name:          name,
		Durable:       name,
		Description:   fmt.Sprintf("group %s on %s", s.Group, s.Subject),
		FilterSubject: string(s.Subject),
		DeliverPolicy: jetstream.DeliverAllPolicy,
		AckPolicy:     jetstream.AckExplicitPolicy,
		AckWait:       s.AckWait,
		MaxDeliver:    -1, // the listener counts attempts
		MaxAckPending: -1, // the members' windows bound it
	}
}

// metaRestarted marks a consumer that was made again under a running
// subscription, and says where it started.
const metaRestarted = "ticketing-restarted-at"

// startingAt is cfg for a consumer that is made again.
func startingAt(cfg jetstream.ConsumerConfig, start uint64) jetstream.ConsumerConfig {
	cfg.DeliverPolicy = jetstream.DeliverByStartSequencePolicy
	cfg.OptStartSeq = start
	cfg.Metadata = map[string]string{metaRestarted: strconv.FormatUint(start, 10)}
	return cfg
}

// restarted reports whether startingAt made cfg.
func restarted(cfg jetstream.ConsumerConfig) bool {
	return cfg.DeliverPolicy == jetstream.DeliverByStartSequencePolicy &&
		cfg.Metadata[metaRestarted] == strconv.FormatUint(cfg.OptStartSeq, 10)
}

// ensureConsumer finds or creates the consumer of a subscription, and brings
// its settings in line with want. It returns what the server says of it then.
func (c *Client) ensureConsumer(ctx context.Context, stream string, want jetstream.ConsumerConfig) (*jetstream.ConsumerInfo, error) {
	info, err := c.consumerInfo(ctx, stream, want.Durable)
	switch {
	case errors.Is(err, jetstream.ErrConsumerNotFound) && c.cfg.VerifyOnly:
		return nil, fmt.Errorf("consumer %s of stream %s does not exist, and the configuration says to create nothing", want.Durable, stream)
	case errors.Is(err, jetstream.ErrConsumerNotFound):
		return c.createConsumer(ctx, stream, want)
	case errors.Is(err, jetstream.ErrNotPullConsumer):
		return nil, pushConsumer(stream, want.Durable)
	case err != nil:
		return nil, err
	}
	return c.repairConsumer(ctx, stream, info, want)
}

// repairConsumer brings the settings of a consumer in line with want. It returns
// what the server says of it then, or an unfitError.
func (c *Client) repairConsumer(ctx context.Context, stream string, info *jetstream.ConsumerInfo, want jetstream.ConsumerConfig) (*jetstream.ConsumerInfo, error) {
	have := info.Config
	if broken := brokenConsumer(have, want); len(broken) > 0 {
		return nil, unfit(stream, want.Durable, broken)
	}
	d := compareConsumer(have, want)
	if len(d) == 0 {
		return info, nil
	}
	log := c.cfg.Logger.With("stream", stream, "consumer", want.Durable)
	if c.cfg.VerifyOnly {
		if need := mustChange(have); len(need) > 0 {
			return nil, unfitError(fmt.Sprintf("consumer %s of stream %s cannot serve this group: %v; and the configuration says to change nothing", want.Durable, stream, need))
		}
		d.log(log, "consumer differs from the configuration and is left as it is")
		return info, nil
	}
	d.log(log, "consumer differs from the configuration and is changed")
	return c.updateConsumer(ctx, stream, repaired(have, want))
}

func (c *Client) consumerInfo(ctx context.Context, stream, name string) (*jetstream.ConsumerInfo, error) {
	return c.consumerCall(ctx, "CONSUMER.INFO."+stream+"."+name, func(ctx context.Context) (jetstream.Consumer, error) {
		return c.js.Consumer(ctx, stream, name)
	})
}

func (c *Client) createConsumer(ctx context.Context, stream string, want jetstream.ConsumerConfig) (*jetstream.ConsumerInfo, error) {
	have, err := c.consumerCall(ctx, "CONSUMER.CREATE."+stream+"."+want.Durable, func(ctx context.Context) (jetstream.Consumer, error) {
		return c.js.CreateConsumer(ctx, stream, want)
	})
	if errors.Is(err, jetstream.ErrConsumerExists) {
		err = fmt.Errorf("%w: %w", errRace, err)
	}
	return have, err
}

func (c *Client) updateConsumer(ctx context.Context, stream string, want jetstream.ConsumerConfig) (*jetstream.ConsumerInfo, error) {
	return c.consumerCall(ctx, "CONSUMER.CREATE."+stream+"."+want.Durable, func(ctx context.Context) (jetstream.Consumer, error) {
		return c.js.UpdateConsumer(ctx, stream, want)
	})
}

func (c *Client) consumerCall(ctx context.Context, api string, f func(context.Context) (jetstream.Consumer, error)) (*jetstream.ConsumerInfo, error) {
	consumer, err := request(ctx, c, api, f)
	if err != nil {
		return nil, err
	}
	return consumer.CachedInfo(), nil
}

func (c *Client) deleteConsumer(ctx context.Context, stream, name string) error {
	return c.request(ctx, "CONSUMER.DELETE."+stream+"."+name, func(ctx context.Context) error {
		return c.js.DeleteConsumer(ctx, stream, name)
	})
}

// streamMade returns when a stream was made, or zero where the account may not
// ask.
func (c *Client) streamMade(ctx context.Context, name string) (made time.Time, err error) {
	s, err := c.openStream(ctx, name)
	switch {
	case errors.Is(err, ticketing.ErrPermission):
		return made, nil
	case err != nil:
		return made, err
	}
	return s.CachedInfo().Created, nil
}

// unfitError is the error for a consumer that breaks what a subscription
// promises, and stays as it is.
type unfitError string

func (e unfitError) Error() string { return string(e) }

func unfit(stream, name string, broken differences) error {
	return unfitError(fmt.Sprintf("consumer %s of stream %s cannot serve this group: %v; delete it, or choose another group", name, stream, broken))
}

func pushConsumer(stream, name string) error {
	return fmt.Errorf("consumer %s of stream %s cannot serve this group: it has a deliver_subject; delete it, or choose another group", name, stream)
}

// brokenConsumer lists the settings that cannot be changed and that break what
// a subscription promises.
func brokenConsumer(have, want jetstream.ConsumerConfig) (d differences) {
	filter := have.FilterSubject
	if len(have.FilterSubjects) > 0 {
		filter = strings.Join(have.FilterSubjects, ",")
	}
	differ(&d, "filter_subject", filter, want.FilterSubject)
	differ(&d, "ack_policy", have.AckPolicy, want.AckPolicy)
	if !restarted(have) {
		differ(&d, "deliver_policy", have.DeliverPolicy, want.DeliverPolicy)
	}
	differ(&d, "headers_only", have.HeadersOnly, false)
	differ(&d, "priority_policy", have.PriorityPolicy, jetstream.PriorityPolicyNone)
	return d
}

// compareConsumer lists the settings that differ and can be changed.
func compareConsumer(have, want jetstream.ConsumerConfig) (d differences) {
	differ(&d, "ack_wait", have.AckWait, want.AckWait)
	differ(&d, "max_ack_pending", have.MaxAckPending, want.MaxAckPending)
	return append(d, mustChange(have)...)
}

// mustChange lists those among them with which messages would be lost, or
// requests refused.
func mustChange(have jetstream.ConsumerConfig) (d differences) {
	differ(&d, "max_deliver", have.MaxDeliver, -1)
	differ(&d, "backoff", fmt.Sprint(have.BackOff), fmt.Sprint([]time.Duration(nil)))
	differ(&d, "inactive_threshold", have.InactiveThreshold, 0)
	differ(&d, "max_batch", have.MaxRequestBatch, 0)
	differ(&d, "max_expires", have.MaxRequestExpires, 0)
	differ(&d, "max_bytes", have.MaxRequestMaxBytes, 0)
	return d
}

// repaired is have with what compareConsumer looks at as it should be.
func repaired(have, want jetstream.ConsumerConfig) jetstream.ConsumerConfig {
	have.AckWait = want.AckWait
	have.MaxAckPending = want.MaxAckPending
	have.MaxDeliver = -1
	have.BackOff = nil
	have.InactiveThreshold = 0
	have.MaxRequestBatch = 0
	have.MaxRequestExpires = 0
	have.MaxRequestMaxBytes = 0
	return have
}
