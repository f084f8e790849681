// The scenarios in C++: gRPC's C++ library, with code that its protoc plugin generated.

#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <iostream>
#include <map>
#include <memory>
#include <mutex>
#include <sstream>
#include <string>
#include <thread>

#include <google/protobuf/util/json_util.h>
#include <google/protobuf/util/time_util.h>
#include <grpcpp/grpcpp.h>

#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "lienthong/interop/v1/interop.grpc.pb.h"
#include "vn/dancu/v1/citizen.grpc.pb.h"
#include "vn/danhmuc/v1/administrative_unit.grpc.pb.h"
#include "vn/dkdn/v1/enterprise.grpc.pb.h"
#include "vn/thunghiem/v1/trial.grpc.pb.h"

namespace {

namespace interop = lienthong::interop::v1;
namespace trial = vn::thunghiem::v1;
using Clock = std::chrono::steady_clock;

constexpr int kMessageBytesMax = 32 << 20;
constexpr char kRetry[] = R"({"methodConfig": [{"name": [{}], "retryPolicy": {"maxAttempts": 4,
  "initialBackoff": "0.05s", "maxBackoff": "1s", "backoffMultiplier": 2, "retryableStatusCodes": ["UNAVAILABLE"]}}]})";

std::string Named(const std::string& caller, const std::string& name) {
  std::string upper;
  for (char c : caller) upper += static_cast<char>(std::toupper(c));
  const char* value = std::getenv(("LIENTHONG_" + upper + "_" + name).c_str());
  return value ? value : "";
}

std::string ReadFile(const std::string& path) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

std::shared_ptr<grpc::Channel> Open(const interop::Scenario& scenario) {
  const auto file = [&](const std::string& name) { return ReadFile(Named(scenario.caller(), name)); };
  grpc::SslCredentialsOptions tls{file("TRUST"), file("KEY"), file("CERTIFICATE")};
  grpc::ChannelArguments arguments;
  arguments.SetSslTargetNameOverride(Named(scenario.caller(), "SERVER_NAME"));
  arguments.SetMaxReceiveMessageSize(kMessageBytesMax);
  arguments.SetMaxSendMessageSize(kMessageBytesMax);
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 500);
  arguments.SetInt(GRPC_ARG_ENABLE_RETRIES, scenario.retry());
  if (scenario.retry()) arguments.SetServiceConfigJSON(kRetry);
  return grpc::CreateCustomChannel(Named(scenario.caller(), "NODE"), grpc::SslCredentials(tls), arguments);
}

std::string Base64(const std::string& bytes) {
  static const char* digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  for (size_t i = 0; i < bytes.size(); i += 3) {
    unsigned group = 0;
    for (size_t j = 0; j < 3; ++j) group = group << 8 | (i + j < bytes.size() ? static_cast<unsigned char>(bytes[i + j]) : 0);
    for (size_t j = 0; j < 4; ++j) text += i + j > bytes.size() ? '=' : digits[group >> (18 - 6 * j) & 63];
  }
  return text;
}

std::string FromBase64(const std::string& text) {
  static const std::string digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string bytes;
  unsigned group = 0, bits = 0;
  for (char c : text) {
    const size_t value = digits.find(c);
    if (value == std::string::npos) break;
    group = group << 6 | static_cast<unsigned>(value);
    bits += 6;
    if (bits >= 8) bytes += static_cast<char>(group >> (bits -= 8) & 255);
  }
  return bytes;
}

std::string Payload(size_t size) {
  std::string bytes(size, '\0');
  for (size_t i = 0; i < size; ++i) bytes[i] = static_cast<char>(i % 251);
  return bytes;
}

bool EndsWith(const std::string& text, const std::string& end) {
  return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

// One call of a scenario.
class Call {
 public:
  explicit Call(interop::Scenario scenario) : scenario_(std::move(scenario)), begun_(Clock::now()) {
    outcome_.set_id(scenario_.id());
    outcome_.set_payload_intact(true);
    for (const auto& entry : scenario_.metadata()) {
      const bool bytes = EndsWith(entry.key(), "-bin");
      context_.AddMetadata(entry.key(), bytes ? FromBase64(entry.value()) : entry.value());
    }
    if (scenario_.deadline_ms()) {
      context_.set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(scenario_.deadline_ms()));
    }
    if (scenario_.wait_for_ready()) context_.set_wait_for_ready(true);
    if (scenario_.gzip()) context_.set_compression_algorithm(GRPC_COMPRESS_GZIP);
  }

  interop::Outcome Make(const std::shared_ptr<grpc::Channel>& channel) {
    std::thread canceller;
    if (scenario_.cancel_after_ms()) {
      canceller = std::thread([this] {
        std::this_thread::sleep_for(std::chrono::milliseconds(scenario_.cancel_after_ms()));
        const auto now = std::chrono::system_clock::now().time_since_epoch();
        outcome_.set_cancelled_at_ms(std::chrono::duration_cast<std::chrono::milliseconds>(now).count());
        context_.TryCancel();
      });
    }
    const grpc::Status status = Dispatch(channel);
    if (canceller.joinable()) canceller.join();
    Conclude(status);
    return outcome_;
  }

 private:
  grpc::Status Dispatch(const std::shared_ptr<grpc::Channel>& channel) {
    const auto trials = trial::TrialService::NewStub(channel);
    switch (scenario_.call_case()) {
      case interop::Scenario::kGetRecord: {
        trial::GetRecordResponse answer;
        return One(trials->GetRecord(&context_, scenario_.get_record(), &answer), answer);
      }
      case interop::Scenario::kPutRecord: {
        Fill(scenario_.mutable_put_record());
        trial::PutRecordResponse answer;
        return One(trials->PutRecord(&context_, scenario_.put_record(), &answer), answer);
      }
      case interop::Scenario::kListRecords: {
        const auto stream = trials->ListRecords(&context_, scenario_.list_records());
        return Each<trial::ListRecordsResponse>(*stream);
      }
      case interop::Scenario::kSendRecords: {
        trial::SendRecordsResponse answer;
        const auto stream = trials->SendRecords(&context_, &answer);
        auto* request = scenario_.mutable_send_records();
        Fill(request);
        for (uint32_t number = 0; number < scenario_.times() && stream->Write(*request); ++number) {
          request->clear_instruction();
        }
        stream->WritesDone();
        return One(stream->Finish(), answer);
      }
      case interop::Scenario::kMirror: {
        const auto stream = trials->Mirror(&context_);
        auto* request = scenario_.mutable_mirror();
        Fill(request);
        trial::MirrorResponse answer;
        for (uint32_t number = 0; number < scenario_.times(); ++number) {
          if (!stream->Write(*request) || !stream->Read(&answer)) break;
          request->clear_instruction();
          Take(answer);
        }
        stream->WritesDone();
        while (stream->Read(&answer)) Take(answer);
        return stream->Finish();
      }
      case interop::Scenario::kVerifyRecord: {
        vn::dancu::v1::VerifyRecordResponse answer;
        const auto citizens = vn::dancu::v1::CitizenService::NewStub(channel);
        return One(citizens->VerifyRecord(&context_, scenario_.verify_record(), &answer), answer);
      }
      case interop::Scenario::kSyncCitizens: {
        const auto citizens = vn::dancu::v1::CitizenService::NewStub(channel);
        const auto stream = citizens->SyncCitizens(&context_, scenario_.sync_citizens());
        return Each<vn::dancu::v1::SyncCitizensResponse>(*stream);
      }
      case interop::Scenario::kGetEnterprise: {
        vn::dkdn::v1::GetEnterpriseResponse answer;
        const auto enterprises = vn::dkdn::v1::EnterpriseService::NewStub(channel);
        return One(enterprises->GetEnterprise(&context_, scenario_.get_enterprise(), &answer), answer);
      }
      case interop::Scenario::kGetAdministrativeUnit: {
        vn::danhmuc::v1::GetAdministrativeUnitResponse answer;
        const auto units = vn::danhmuc::v1::AdministrativeUnitService::NewStub(channel);
        return One(units->GetAdministrativeUnit(&context_, scenario_.get_administrative_unit(), &answer), answer);
      }
      case interop::Scenario::kGetNothing: {
        interop::GetResponse answer;
        const auto nobody = interop::NobodyService::NewStub(channel);
        return One(nobody->Get(&context_, scenario_.get_nothing(), &answer), answer);
      }
      default:
        return grpc::Status(grpc::StatusCode::UNIMPLEMENTED, "a scenario without a call");
    }
  }

  template <typename Answer>
  grpc::Status One(grpc::Status status, const Answer& answer) {
    if (status.ok()) {
      outcome_.set_head_ms(Elapsed());
      Take(answer);
    }
    return status;
  }

  template <typename Answer>
  grpc::Status Each(grpc::ClientReader<Answer>& stream) {
    stream.WaitForInitialMetadata();
    outcome_.set_head_ms(Elapsed());
    Answer answer;
    while (stream.Read(&answer)) Take(answer);
    return stream.Finish();
  }

  template <typename Request>
  void Fill(Request* request) {
    if (scenario_.payload_bytes()) request->mutable_record()->set_du_lieu(Payload(scenario_.payload_bytes()));
  }

  void Take(const google::protobuf::Message& answer) {
    if (outcome_.messages() == 0) outcome_.set_first_ms(Elapsed());
    outcome_.set_messages(outcome_.messages() + 1);
    if (const auto* get = dynamic_cast<const trial::GetRecordResponse*>(&answer)) Note(get->record(), &get->seen());
    if (const auto* put = dynamic_cast<const trial::PutRecordResponse*>(&answer)) Note(put->record(), &put->seen());
    if (const auto* list = dynamic_cast<const trial::ListRecordsResponse*>(&answer)) Note(list->record(), nullptr);
    if (const auto* mirror = dynamic_cast<const trial::MirrorResponse*>(&answer)) Note(mirror->record(), nullptr);
    if (const auto* send = dynamic_cast<const trial::SendRecordsResponse*>(&answer)) {
      Note(send->last(), &send->seen());
      outcome_.set_counted(send->messages());
    }
  }

  void Note(const trial::Record& record, const trial::Seen* seen) {
    if (seen) *outcome_.mutable_seen() = *seen;
    outcome_.set_payload_bytes(outcome_.payload_bytes() + record.du_lieu().size());
    if (record.du_lieu() != Payload(record.du_lieu().size())) outcome_.set_payload_intact(false);
    *outcome_.mutable_last() = record;
    outcome_.mutable_last()->clear_du_lieu();
  }

  void Conclude(const grpc::Status& status) {
    outcome_.set_ended_ms(Elapsed());
    outcome_.set_code(status.error_code());
    outcome_.set_message(status.error_message());
    for (const auto& [key, value] : context_.GetServerInitialMetadata()) Add(outcome_.mutable_initial(), key, value);
    for (const auto& [key, value] : context_.GetServerTrailingMetadata()) Add(outcome_.mutable_trailers(), key, value);
    google::rpc::Status details;
    if (!details.ParseFromString(status.error_details())) return;
    for (const auto& packed : details.details()) {
      outcome_.add_details(packed.type_url().substr(packed.type_url().rfind('/') + 1));
      google::rpc::ErrorInfo info;
      google::rpc::RetryInfo retry;
      google::rpc::BadRequest bad;
      if (packed.UnpackTo(&info)) {
        outcome_.set_reason(info.reason());
        outcome_.set_domain(info.domain());
      } else if (packed.UnpackTo(&retry)) {
        outcome_.set_retry_delay_ms(google::protobuf::util::TimeUtil::DurationToMilliseconds(retry.retry_delay()));
      } else if (packed.UnpackTo(&bad)) {
        for (const auto& violation : bad.field_violations()) outcome_.add_fields(violation.field());
      }
    }
  }

  static void Add(google::protobuf::RepeatedPtrField<interop::Entry>* entries, grpc::string_ref key, grpc::string_ref value) {
    const std::string name(key.data(), key.size()), text(value.data(), value.size());
    if (name.rfind("trial-", 0) != 0 && name != "mesh-exchange-id") return;
    auto* entry = entries->Add();
    entry->set_key(name);
    entry->set_value(EndsWith(name, "-bin") ? Base64(text) : text);
  }

  uint32_t Elapsed() const {
    return static_cast<uint32_t>(std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - begun_).count());
  }

  interop::Scenario scenario_;
  interop::Outcome outcome_;
  grpc::ClientContext context_;
  Clock::time_point begun_;
};

interop::Outcome Play(const interop::Scenario& scenario, const std::shared_ptr<grpc::Channel>& channel) {
  if (scenario.pause()) {
    Call(scenario).Make(channel);
    std::cout << std::endl;
    std::string line;
    std::getline(std::cin, line);
  }
  interop::Outcome outcome = Call(scenario).Make(channel);
  if (scenario.call_case() == interop::Scenario::kGetAdministrativeUnit) {
    for (uint32_t times = 1; times < scenario.times() && outcome.code() == 0; ++times) {
      outcome = Call(scenario).Make(channel);
    }
  }
  return outcome;
}

}  // namespace

int main() {
  std::map<std::string, std::shared_ptr<grpc::Channel>> channels;
  for (std::string line; std::getline(std::cin, line);) {
    if (line.empty()) continue;
    interop::Scenario scenario;
    const auto read = google::protobuf::util::JsonStringToMessage(line, &scenario);
    if (!read.ok()) {
      std::cerr << read.ToString() << std::endl;
      return 1;
    }
    auto& channel = channels[scenario.caller() + (scenario.retry() ? " retries" : "")];
    if (!channel) channel = Open(scenario);
    std::string text;
    google::protobuf::util::JsonPrintOptions options;
    const auto written = google::protobuf::util::MessageToJsonString(Play(scenario, channel), &text, options);
    if (!written.ok()) return 1;
    std::cout << text << std::endl;
  }
}
