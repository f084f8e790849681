//! Contracts made up from a seed: nested types that hide each other's names, maps, groups, oneofs, optional fields,
//! reserved numbers, extensions, and options of every kind.

use std::collections::BTreeMap;
use std::fmt::Write;

/// A contract of three files: options in proto2, common types, and a service in proto3.
pub fn contract(seed: u64) -> BTreeMap<String, String> {
    let mut dice = Dice(seed | 1);
    let common = Maker { dice: &mut dice, package: "vn.common.v1", proto3: false, types: vec![] }.file(false);
    let main = Maker {
        dice: &mut dice,
        package: "vn.test.v1",
        proto3: true,
        types: vec![".vn.common.v1.M0".to_owned(), ".google.protobuf.Timestamp".to_owned()],
    }
    .file(true);
    [
        ("vn/words.proto".to_owned(), WORDS.to_owned()),
        ("vn/common.proto".to_owned(), common),
        ("vn/test.proto".to_owned(), main),
    ]
    .into()
}

/// A contract that shows what people see of each construct.
pub fn reviewed() -> BTreeMap<String, String> {
    [("vn/words.proto".to_owned(), WORDS.to_owned()), ("reviewed.proto".to_owned(), REVIEWED.to_owned())]
        .into()
}

/// The generator's dice: xorshift64*.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % end
    }

    fn one_in(&mut self, chances: u64) -> bool {
        self.below(chances) == 0
    }

    fn pick<'a, T: ?Sized>(&mut self, of: &[&'a T]) -> &'a T {
        of[usize::try_from(self.below(of.len() as u64)).unwrap()]
    }
}

struct Maker<'a> {
    dice: &'a mut Dice,
    package: &'a str,
    proto3: bool,
    /// Fully qualified messages that fields may have.
    types: Vec<String>,
}

impl Maker<'_> {
    fn file(mut self, service: bool) -> String {
        let mut out = String::new();
        let syntax = if self.proto3 { "proto3" } else { "proto2" };
        let imports = if self.proto3 {
            "import public \"vn/common.proto\"; import \"google/protobuf/timestamp.proto\";"
        } else {
            ""
        };
        writeln!(out, "syntax=\"{syntax}\"; package {}; {imports} import \"vn/words.proto\";", self.package)
            .unwrap();
        out.push_str("option java_package = \"vn.\\\"x\\\"\"; option (.vn.words.f) = {s:\"Ấ\\n\\001\" b:\"\\377\\000\" r:1 r:-2 e:TWO m{s:\"x\"} n{key:\"k\" value:3} n{key:\"j\" value:4}};\n");
        if self.dice.one_in(2) {
            out.push_str("option deprecated = true; option optimize_for = CODE_SIZE;\n");
        }
        for number in 0..=self.dice.below(3) {
            let scope = format!(".{}", self.package);
            let name = format!("M{number}");
            self.types.push(format!("{scope}.{name}"));
            self.message(&mut out, &name, &scope, 0);
        }
        self.enumeration(&mut out, "E0", "TOP");
        if !self.proto3 {
            let extended = format!(".{}.M0", self.package);
            writeln!(out, "extend {extended} {{ optional string x1 = 1000 [(.vn.words.x) = 1.5]; repeated int32 x2 = 1001 [packed=true];\n optional group XG = 1002 {{ optional int32 a = 1; }} }}").unwrap();
        }
        if service {
            self.service(&mut out);
        }
        out
    }

    fn service(&mut self, out: &mut String) {
        out.push_str("service Svc { option (.vn.words.s) = \"của tôi\";\n");
        for number in 0..self.dice.below(4) {
            let (input, output) = (self.a_type(), self.a_type());
            let (to, from) = (self.maybe("stream "), self.maybe("stream "));
            let body = match self.dice.below(3) {
                0 => ";".to_owned(),
                1 => "{}".to_owned(),
                _ => "{ option idempotency_level = NO_SIDE_EFFECTS; option (.vn.words.me).s = \"a\"; option (.vn.words.me).m.s = \"b\"; }".to_owned(),
            };
            writeln!(out, "rpc R{number}({to}{input}) returns ({from}{output}) {body}").unwrap();
        }
        out.push_str("}\n");
    }

    fn message(&mut self, out: &mut String, name: &str, scope: &str, depth: u32) {
        let own = format!("{scope}.{name}");
        writeln!(out, "// About {name}.\nmessage {name} {{").unwrap();
        if self.dice.one_in(3) {
            out.push_str("option (.vn.words.m) = {s:\"x\" e:ONE d:inf}; option deprecated=true;\n");
        }
        if self.dice.one_in(3) {
            out.push_str("reserved 500, 502 to 510, 530000000 to max; reserved \"gone\", \"lost\";\n");
        }
        if !self.proto3 {
            out.push_str("extensions 1000 to 1999; extensions 5000;\n");
        }
        let mut number = 1;
        for field in 0..=self.dice.below(6) {
            match self.dice.below(8) {
                // Names that hide others from inside.
                0 if depth < 2 => {
                    let inner = self.dice.pick(&["M0", "Inner", "vn", "E0x"]);
                    if !out_has(out, &own, inner) {
                        self.types.push(format!("{own}.{inner}"));
                        mark(out, &own, inner);
                        self.message(out, inner, &own, depth + 1);
                    }
                }
                1 => {
                    let prefix = format!("V{depth}{field}{}", name.to_uppercase());
                    self.enumeration(out, &format!("E{field}"), &prefix);
                }
                2 => {
                    write!(out, "oneof o{field} {{ string a{field}_x = {number}; ").unwrap();
                    let of = self.a_type();
                    writeln!(out, "{of} b{field} = {}; }}", number + 1).unwrap();
                    number += 2;
                }
                3 => {
                    let (key, value) =
                        (self.dice.pick(&["string", "int32", "bool", "fixed64"]), self.a_type());
                    writeln!(out, "map<{key}, {value}> map_{field} = {number};").unwrap();
                    number += 1;
                }
                4 if !self.proto3 => {
                    writeln!(out, "optional group Gr{field} = {number} {{ optional int32 a = 1; repeated group H = 2 {{ required bool b = 1; }} }}").unwrap();
                    number += 1;
                }
                _ => {
                    self.field(out, field, number);
                    number += 1;
                }
            }
        }
        out.push_str("}\n");
    }

    fn field(&mut self, out: &mut String, field: u64, number: u64) {
        let label = match (self.proto3, self.dice.below(4)) {
            (_, 0) => "repeated ",
            (true, 1) | (false, 1 | 2) => "optional ",
            (true, _) => "",
            (false, _) => "required ",
        };
        let scalar = self.dice.one_in(2);
        let kind = if scalar {
            self.dice
                .pick(&["string", "bytes", "int32", "sint64", "fixed32", "double", "float", "bool", "uint64"])
                .to_owned()
        } else {
            self.a_type()
        };
        let mut options = Vec::new();
        if self.dice.one_in(4) {
            options.push(format!("json_name = \"khác {number}\""));
        }
        if self.dice.one_in(4) {
            options.push("(.vn.words.fo) = {s:\"a\\\"b\" e:TWO [vn.words.deep]: true}".to_owned());
            options.push("(.vn.words.fr) = 1".to_owned());
            options.push("(.vn.words.fr) = 2".to_owned());
        }
        if self.dice.one_in(5) {
            options.push("deprecated = true".to_owned());
        }
        if !self.proto3 && label != "repeated " && self.dice.one_in(2) {
            let default = match kind.as_str() {
                "string" => Some("\"Ấy \\\"1\\\"\\n\""),
                "bytes" => Some("\"\\000\\377\\\"\\\\\""),
                "int32" => Some("-5"),
                "double" => Some("1e30"),
                "float" => Some("-inf"),
                "bool" => Some("true"),
                _ => None,
            };
            options.extend(default.map(|default| format!("default = {default}")));
        }
        let options = if options.is_empty() { String::new() } else { format!("[{}]", options.join(",")) };
        writeln!(out, "{label}{kind} f_{field}x = {number} {options}; // Behind.").unwrap();
    }

    fn enumeration(&mut self, out: &mut String, name: &str, prefix: &str) {
        write!(out, "enum {name} {{ option allow_alias = true; {prefix}_ZERO = 0; {prefix}_ALSO = 0;")
            .unwrap();
        if self.dice.one_in(2) {
            write!(out, " {prefix}_LESS = -3 [deprecated = true, (.vn.words.v) = 7]; reserved -20 to -10, 9, 100 to max; reserved \"{prefix}_OLD\";").unwrap();
        }
        out.push_str(" }\n");
    }

    fn a_type(&mut self) -> String {
        let types: Vec<&str> = self.types.iter().map(String::as_str).collect();
        self.dice.pick(&types).to_owned()
    }

    fn maybe(&mut self, word: &'static str) -> &'static str {
        if self.dice.one_in(2) { word } else { "" }
    }
}

/// Nested names are used once in a message; a comment in the source remembers it.
fn mark(out: &mut String, own: &str, inner: &str) {
    writeln!(out, "/*{own}!{inner}*/").unwrap();
}

fn out_has(out: &str, own: &str, inner: &str) -> bool {
    out.contains(&format!("/*{own}!{inner}*/"))
}

const WORDS: &str = r#"
syntax = "proto2";
package vn.words;
import "google/protobuf/descriptor.proto";
enum W { ONE = 1; TWO = 2; }
message Opt {
  optional string s = 1; optional bytes b = 2; repeated sint32 r = 3; optional W e = 4; optional Opt m = 5;
  map<string, int32> n = 6; optional double d = 7;
  extensions 100 to max;
}
extend Opt { optional bool deep = 100; }
extend google.protobuf.FileOptions { optional Opt f = 60001; }
extend google.protobuf.MessageOptions { optional Opt m = 60001; }
extend google.protobuf.FieldOptions { optional Opt fo = 60001; repeated int32 fr = 60002; optional float x = 60003; }
extend google.protobuf.ServiceOptions { optional string s = 60001; }
extend google.protobuf.MethodOptions { optional Opt me = 60001; }
extend google.protobuf.EnumValueOptions { optional uint32 v = 60001; }
"#;

const REVIEWED: &str = r#"// Stands at the top.
syntax = "proto3";
package vn.reviewed.v1;
import "vn/words.proto";
import "google/protobuf/timestamp.proto";
option java_package = "vn.reviewed";

// Far from everything.

// A service.
service Questions {
  // A question.
  rpc Ask(stream Question) returns (Answer) { option idempotency_level = NO_SIDE_EFFECTS; option (vn.words.me) = { s: "a" m { s: "b" } }; }
  rpc Tell(Question) returns (stream Answer);
}
// What is asked.
message Question {
  reserved 7, 9 to 11; reserved "old";
  // Who.
  string who = 1 [(vn.words.fo) = { s: "Ai" }, deprecated = true];
  optional int32 times = 2; // how often
  oneof way { string by_name = 3; google.protobuf.Timestamp by_time = 4; }
  map<string, Inner> inner = 5 [json_name = "trong"];
  // Inside.
  message Inner { enum State { STATE_UNSPECIFIED = 0; STATE_GONE = -1 [deprecated = true]; } State state = 1; }
}
message Answer { repeated Question.Inner found = 1; }
message Nothing {}
"#;
