// The scenarios in Go: grpc-go, with code that protoc-gen-go generated.
package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"io"
	"io/ioutil"
	"os"
	"strings"
	"sync"
	"time"

	interop "lienthong/interop/v1"
	dancu "vn/dancu/v1"
	danhmuc "vn/danhmuc/v1"
	dkdn "vn/dkdn/v1"
	trial "vn/thunghiem/v1"

	"github.com/golang/protobuf/jsonpb"
	"github.com/golang/protobuf/proto"
	"github.com/golang/protobuf/ptypes"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

const messageBytesMax = 32 << 20

// The retry of this release is behind an environment variable, GRPC_GO_RETRY=on.
const retryPolicy = `{"methodConfig": [{"name": [{"service": "vn.thunghiem.v1.TrialService"}], "retryPolicy": {
  "maxAttempts": 4, "initialBackoff": "0.05s", "maxBackoff": "1s", "backoffMultiplier": 2,
  "retryableStatusCodes": ["UNAVAILABLE"]}}]}`

func main() {
	lines := bufio.NewReaderSize(os.Stdin, 1<<20)
	connections := map[string]*grpc.ClientConn{}
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			return
		}
		if strings.TrimSpace(line) == "" {
			continue
		}
		scenario := &interop.Scenario{}
		must(jsonpb.UnmarshalString(line, scenario))
		key := fmt.Sprint(scenario.Caller, scenario.Retry)
		if connections[key] == nil {
			connections[key] = open(scenario)
		}
		outcome := play(scenario, connections[key], lines)
		text, err := (&jsonpb.Marshaler{}).MarshalToString(outcome)
		must(err)
		fmt.Println(text)
	}
}

func open(scenario *interop.Scenario) *grpc.ClientConn {
	named := func(name string) string {
		return os.Getenv("LIENTHONG_" + strings.ToUpper(scenario.Caller) + "_" + name)
	}
	certificate, err := tls.LoadX509KeyPair(named("CERTIFICATE"), named("KEY"))
	must(err)
	trust, err := ioutil.ReadFile(named("TRUST"))
	must(err)
	authorities := x509.NewCertPool()
	authorities.AppendCertsFromPEM(trust)
	options := []grpc.DialOption{
		grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{
			Certificates: []tls.Certificate{certificate},
			RootCAs:      authorities,
			ServerName:   named("SERVER_NAME"),
		})),
		grpc.WithDefaultCallOptions(
			grpc.MaxCallRecvMsgSize(messageBytesMax), grpc.MaxCallSendMsgSize(messageBytesMax)),
		grpc.WithBackoffMaxDelay(500 * time.Millisecond),
	}
	if scenario.Retry {
		options = append(options, grpc.WithDefaultServiceConfig(retryPolicy))
	}
	connection, err := grpc.Dial(named("NODE"), options...)
	must(err)
	return connection
}

func play(scenario *interop.Scenario, connection *grpc.ClientConn, lines *bufio.Reader) *interop.Outcome {
	if scenario.Pause {
		callOnce(scenario, connection)
		fmt.Println()
		_, err := lines.ReadString('\n')
		must(err)
	}
	outcome := callOnce(scenario, connection)
	if _, repeated := scenario.Call.(*interop.Scenario_GetAdministrativeUnit); repeated {
		for times := uint32(1); times < scenario.Times && outcome.Code == 0; times++ {
			outcome = callOnce(scenario, connection)
		}
	}
	return outcome
}

// A call under way.
type call struct {
	scenario *interop.Scenario
	outcome  *interop.Outcome
	begun    time.Time
	initial  metadata.MD
	trailers metadata.MD
}

func callOnce(scenario *interop.Scenario, connection *grpc.ClientConn) *interop.Outcome {
	c := &call{
		scenario: scenario,
		outcome:  &interop.Outcome{Id: scenario.Id, PayloadIntact: true},
		begun:    time.Now(),
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if scenario.DeadlineMs > 0 {
		ctx, cancel = context.WithTimeout(ctx, time.Duration(scenario.DeadlineMs)*time.Millisecond)
		defer cancel()
	}
	if scenario.CancelAfterMs > 0 {
		time.AfterFunc(time.Duration(scenario.CancelAfterMs)*time.Millisecond, func() {
			c.outcome.CancelledAtMs = time.Now().UnixNano() / 1e6
			cancel()
		})
	}
	for _, entry := range scenario.Metadata {
		value := entry.Value
		if strings.HasSuffix(entry.Key, "-bin") {
			decoded, err := base64.StdEncoding.DecodeString(value)
			must(err)
			value = string(decoded)
		}
		ctx = metadata.AppendToOutgoingContext(ctx, entry.Key, value)
	}
	err := c.dispatch(ctx, connection)
	c.outcome.EndedMs = c.elapsed()
	c.conclude(err)
	return c.outcome
}

func (c *call) dispatch(ctx context.Context, connection *grpc.ClientConn) error {
	options := []grpc.CallOption{grpc.Header(&c.initial), grpc.Trailer(&c.trailers)}
	if c.scenario.WaitForReady {
		options = append(options, grpc.WaitForReady(true))
	}
	if c.scenario.Gzip {
		options = append(options, grpc.UseCompressor(gzip.Name))
	}
	trials := trial.NewTrialServiceClient(connection)
	citizens := dancu.NewCitizenServiceClient(connection)
	switch asked := c.scenario.Call.(type) {
	case *interop.Scenario_GetRecord:
		answer, err := trials.GetRecord(ctx, asked.GetRecord, options...)
		return c.one(answer, err)
	case *interop.Scenario_PutRecord:
		asked.PutRecord.Record = c.fill(asked.PutRecord.Record)
		answer, err := trials.PutRecord(ctx, asked.PutRecord, options...)
		return c.one(answer, err)
	case *interop.Scenario_ListRecords:
		stream, err := trials.ListRecords(ctx, asked.ListRecords, options...)
		if err != nil {
			return err
		}
		return c.each(stream, func() (proto.Message, error) { return stream.Recv() })
	case *interop.Scenario_SendRecords:
		stream, err := trials.SendRecords(ctx, options...)
		if err != nil {
			return err
		}
		request := asked.SendRecords
		request.Record = c.fill(request.Record)
		for number := uint32(0); number < c.scenario.Times; number++ {
			if stream.Send(request) != nil {
				break
			}
			request.Instruction = nil
		}
		answer, err := stream.CloseAndRecv()
		return c.one(answer, err)
	case *interop.Scenario_Mirror:
		stream, err := trials.Mirror(ctx, options...)
		if err != nil {
			return err
		}
		request := asked.Mirror
		request.Record = c.fill(request.Record)
		sent := uint32(0)
		return c.each(nil, func() (proto.Message, error) {
			if sent < c.scenario.Times {
				if err := stream.Send(request); err != nil && err != io.EOF {
					return nil, err
				}
				request.Instruction = nil
				sent++
			} else if sent == c.scenario.Times {
				must(stream.CloseSend())
			}
			return stream.Recv()
		})
	case *interop.Scenario_VerifyRecord:
		answer, err := citizens.VerifyRecord(ctx, asked.VerifyRecord, options...)
		return c.one(answer, err)
	case *interop.Scenario_SyncCitizens:
		stream, err := citizens.SyncCitizens(ctx, asked.SyncCitizens, options...)
		if err != nil {
			return err
		}
		return c.each(stream, func() (proto.Message, error) { return stream.Recv() })
	case *interop.Scenario_GetEnterprise:
		answer, err := dkdn.NewEnterpriseServiceClient(connection).GetEnterprise(ctx, asked.GetEnterprise, options...)
		return c.one(answer, err)
	case *interop.Scenario_GetAdministrativeUnit:
		units := danhmuc.NewAdministrativeUnitServiceClient(connection)
		answer, err := units.GetAdministrativeUnit(ctx, asked.GetAdministrativeUnit, options...)
		return c.one(answer, err)
	case *interop.Scenario_GetNothing:
		answer, err := interop.NewNobodyServiceClient(connection).Get(ctx, asked.GetNothing, options...)
		return c.one(answer, err)
	}
	panic("a scenario without a call")
}

func (c *call) one(answer proto.Message, err error) error {
	if err == nil {
		c.outcome.HeadMs = c.elapsed()
		c.take(answer)
	}
	return err
}

func (c *call) each(head interface{ Header() (metadata.MD, error) }, next func() (proto.Message, error)) error {
	if head != nil {
		if _, err := head.Header(); err == nil {
			c.outcome.HeadMs = c.elapsed()
		}
	}
	for {
		answer, err := next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		c.take(answer)
	}
}

func (c *call) take(answer proto.Message) {
	if c.outcome.Messages == 0 {
		c.outcome.FirstMs = c.elapsed()
	}
	c.outcome.Messages++
	if seen, ok := answer.(interface{ GetSeen() *trial.Seen }); ok {
		c.outcome.Seen = seen.GetSeen()
	}
	var record *trial.Record
	switch answer := answer.(type) {
	case interface{ GetRecord() *trial.Record }:
		record = answer.GetRecord()
	case *trial.SendRecordsResponse:
		record = answer.Last
		c.outcome.Counted = answer.Messages
	}
	if record == nil {
		return
	}
	c.outcome.PayloadBytes += uint64(len(record.DuLieu))
	if !bytes.Equal(record.DuLieu, payload(len(record.DuLieu))) {
		c.outcome.PayloadIntact = false
	}
	record.DuLieu = nil
	c.outcome.Last = record
}

func (c *call) fill(record *trial.Record) *trial.Record {
	if c.scenario.PayloadBytes > 0 {
		if record == nil {
			record = &trial.Record{}
		}
		record.DuLieu = payload(int(c.scenario.PayloadBytes))
	}
	return record
}

func (c *call) conclude(err error) {
	c.outcome.Initial = entries(c.initial)
	c.outcome.Trailers = entries(c.trailers)
	said := status.Convert(err)
	c.outcome.Code = int32(said.Code())
	c.outcome.Message = said.Message()
	for _, packed := range said.Proto().GetDetails() {
		name, err := ptypes.AnyMessageName(packed)
		must(err)
		c.outcome.Details = append(c.outcome.Details, name)
	}
	for _, detail := range said.Details() {
		switch detail := detail.(type) {
		case *errdetails.ErrorInfo:
			c.outcome.Reason, c.outcome.Domain = detail.Reason, detail.Domain
		case *errdetails.RetryInfo:
			delay, err := ptypes.Duration(detail.RetryDelay)
			must(err)
			c.outcome.RetryDelayMs = delay.Milliseconds()
		case *errdetails.BadRequest:
			for _, violation := range detail.FieldViolations {
				c.outcome.Fields = append(c.outcome.Fields, violation.Field)
			}
		}
	}
}

func (c *call) elapsed() uint32 { return uint32(time.Since(c.begun).Milliseconds()) }

func entries(told metadata.MD) []*interop.Entry {
	var entries []*interop.Entry
	for key, values := range told {
		if !strings.HasPrefix(key, "trial-") && key != "mesh-exchange-id" {
			continue
		}
		for _, value := range values {
			if strings.HasSuffix(key, "-bin") {
				value = base64.StdEncoding.EncodeToString([]byte(value))
			}
			entries = append(entries, &interop.Entry{Key: key, Value: value})
		}
	}
	return entries
}

var pattern struct {
	sync.Once
	bytes []byte
}

func payload(size int) []byte {
	pattern.Do(func() {
		pattern.bytes = make([]byte, messageBytesMax)
		for i := range pattern.bytes {
			pattern.bytes[i] = byte(i % 251)
		}
	})
	return pattern.bytes[:size]
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}
