//! One command that makes the call, for each tool that an integrator has at hand. File names are those of the reader's own
//! certificate, key and authority; nothing else is left to fill in but the values of the message.

use super::{Listed, Reader, schema};

/// A tool, and the command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The tool.
    pub tool: &'static str,
    /// The command, on one line.
    pub command: String,
}

/// The reader's certificate, key and authority, as curl and `buf curl` take them.
pub const FILES: &str = "--cert system.crt --key system.key --cacert authority.crt";

/// The commands for one method.
pub fn lines(reader: &Reader, method: &Listed<'_>) -> Vec<Line> {
    let path = &method.callable.path;
    let url = format!("{}{path}", reader.server);
    let message = schema::example(&method.declared.input()).to_string();
    let (purpose, provider) = (purpose(method), provider(reader, method));
    let (files, stated) = (FILES, stated(reader, method));
    let mut lines = Vec::new();
    if !method.streams() {
        lines.push(Line {
            tool: "curl",
            command: format!(
                "curl {files}{stated} -H 'content-type: application/json' -d {} {}",
                quoted(&message),
                quoted(&url)
            ),
        });
    }
    lines.push(Line {
        tool: "buf curl",
        command: format!("buf curl {files}{stated} -d {} {}", quoted(&message), quoted(&url)),
    });
    let provider = provider.map(|provider| format!(" --provider {}", quoted(provider))).unwrap_or_default();
    if !method.declared.is_client_streaming() {
        lines.push(Line {
            tool: "lienthong call",
            command: format!(
                "lienthong call --profile client.toml --purpose {purpose}{provider} -d {} {path}",
                quoted(&message)
            ),
        });
    }
    lines
}

/// The headers that a call states, as curl and `buf curl` take them.
pub fn stated(reader: &Reader, method: &Listed<'_>) -> String {
    let mut stated = vec![format!("mesh-purpose: {}", purpose(method))];
    stated.extend(provider(reader, method).map(|provider| format!("mesh-provider: {provider}")));
    stated.iter().fold(String::new(), |all, header| all + " -H " + &quoted(header))
}

fn purpose(method: &Listed<'_>) -> String {
    let purposes = method.purposes();
    // Of many, one that names no dossier.
    let plain = purposes.iter().find(|purpose| *purpose == "STATE_MANAGEMENT");
    plain.or(purposes.first()).cloned().unwrap_or_default()
}

/// The provider, where several serve the method.
fn provider<'a>(reader: &Reader, method: &Listed<'a>) -> Option<&'a str> {
    let serving = reader.methods.iter().filter(|other| other.path == method.callable.path).count();
    (serving > 1).then_some(method.callable.provider.as_str())
}

/// As a shell takes it literally.
pub fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_reads_back_what_was_quoted() {
        assert_eq!(quoted("a'b $(x)"), "'a'\\''b $(x)'");
    }
}
