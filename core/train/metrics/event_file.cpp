#include "train/metrics/event_file.h"

#include <fmt/format.h>

#include <boost/crc.hpp>
#include <protozero/pbf_writer.hpp>

namespace tetrad::train {
namespace {

// Field numbers of TensorFlow's event.proto, summary.proto, tensor.proto and tensor_shape.proto.
enum class EventField : protozero::pbf_tag_type {
  wall_time = 1,     // double
  step = 2,          // int64
  file_version = 3,  // string
  summary = 5,       // Summary
  session_log = 7,   // SessionLog
};
enum class SummaryField : protozero::pbf_tag_type { value = 1 };
enum class ValueField : protozero::pbf_tag_type {
  tag = 1,           // string
  simple_value = 2,  // float
  tensor = 8,        // TensorProto
  metadata = 9,      // SummaryMetadata
};
enum class TensorField : protozero::pbf_tag_type {
  dtype = 1,       // enum; DT_STRING = 7
  shape = 2,       // TensorShapeProto: repeated Dim dim = 2; Dim: int64 size = 1
  string_val = 8,  // repeated bytes
};
constexpr protozero::pbf_tag_type metadata_plugin_data = 1, plugin_name = 1, metadata_data_class = 4;
constexpr protozero::pbf_tag_type shape_dim = 2, dim_size = 1, session_status = 1;
constexpr std::int32_t data_type_string = 7, data_class_tensor = 2, session_start = 1;

template <class Enum>
constexpr protozero::pbf_tag_type tag(Enum field) {
  return static_cast<protozero::pbf_tag_type>(field);
}

std::string little_endian(std::uint64_t value, int bytes) {
  std::string result;
  for (int i = 0; i < bytes; ++i) result += static_cast<char>(value >> (8 * i) & 0xFF);
  return result;
}

// CRC-32C (Castagnoli), rotated and shifted as TensorFlow's record format has it.
std::string masked_crc(std::string_view bytes) {
  boost::crc_optimal<32, 0x1EDC6F41, 0xFFFFFFFF, 0xFFFFFFFF, true, true> crc;
  crc.process_bytes(bytes.data(), bytes.size());
  const std::uint32_t sum = crc.checksum();
  return little_endian(((sum >> 15) | (sum << 17)) + 0xA282EAD8U, 4);
}

AppendFile new_file(const std::filesystem::path& folder, double seconds) {
  for (int n = 0;; ++n) {
    const auto file =
        folder / fmt::format("events.out.tfevents.{:010}.{}", static_cast<std::int64_t>(seconds), n);
    if (!std::filesystem::exists(file)) return {file, AppendFile::Existing::refuse};
  }
}

std::string begun_event(double seconds, std::int64_t step) {
  std::string event;
  protozero::pbf_writer writer(event);
  writer.add_double(tag(EventField::wall_time), seconds);
  writer.add_int64(tag(EventField::step), step);
  return event;
}

}  // namespace

std::string tf_record(std::string_view data) {
  const std::string length = little_endian(data.size(), 8);
  std::string record = length + masked_crc(length);
  record += data;
  record += masked_crc(data);
  return record;
}

EventFile::EventFile(const std::filesystem::path& folder, double seconds, std::int64_t first_step)
    : file_(new_file(folder, seconds)) {
  std::string version = begun_event(seconds, 0);
  protozero::pbf_writer(version).add_string(tag(EventField::file_version), "brain.Event:2");
  record(version);
  {
    std::string start = begun_event(seconds, first_step);
    {
      protozero::pbf_writer event(start);
      protozero::pbf_writer session(event, tag(EventField::session_log));
      session.add_enum(session_status, session_start);
    }
    record(start);
  }
}

void EventFile::record(const std::string& event) {
  file_.write(tf_record(event));
}

void EventFile::write(double seconds, std::int64_t step, const Scalars& scalars) {
  std::string text = begun_event(seconds, step);
  {
    protozero::pbf_writer event(text);
    protozero::pbf_writer summary(event, tag(EventField::summary));
    for (const auto& [name, number] : scalars) {
      protozero::pbf_writer value(summary, tag(SummaryField::value));
      value.add_string(tag(ValueField::tag), name);
      value.add_float(tag(ValueField::simple_value), static_cast<float>(number));
    }
  }
  record(text);
}

void EventFile::write_text(double seconds, std::int64_t step, std::string_view name, std::string_view text) {
  std::string bytes = begun_event(seconds, step);
  {
    protozero::pbf_writer event(bytes);
    protozero::pbf_writer summary(event, tag(EventField::summary));
    protozero::pbf_writer value(summary, tag(SummaryField::value));
    value.add_string(tag(ValueField::tag), name.data(), name.size());
    {
      protozero::pbf_writer tensor(value, tag(ValueField::tensor));
      tensor.add_enum(tag(TensorField::dtype), data_type_string);
      {
        protozero::pbf_writer shape(tensor, tag(TensorField::shape));
        protozero::pbf_writer dim(shape, shape_dim);
        dim.add_int64(dim_size, 1);
      }
      tensor.add_bytes(tag(TensorField::string_val), text.data(), text.size());
    }
    protozero::pbf_writer metadata(value, tag(ValueField::metadata));
    {
      protozero::pbf_writer plugin(metadata, metadata_plugin_data);
      plugin.add_string(plugin_name, "text");
    }
    metadata.add_enum(metadata_data_class, data_class_tensor);
  }
  record(bytes);
}

}  // namespace tetrad::train
