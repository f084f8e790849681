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

/// The commands for one method.
pub fn lines(reader: &Reader, method: &Listed<'_>) -> Vec<Line> {
    let path = &method.callable.path;
    let url = format!("{}{path}", reader.server);
    let message = schema::example(&method.declared.input()).to_string();
    let purpose = method.purposes().into_iter().next().unwrap_or_default();
    let provider = if reader.methods.iter().filter(|other| other.path == *path).count() > 1 {
        Some(method.callable.provider.as_str())
    } else {
        None
    };
    let mut stated = vec![format!("mesh-purpose: {purpose}")];
    stated.extend(provider.map(|provider| format!("mesh-provider: {provider}")));
    let stated = stated.iter().fold(String::new(), |all, header| all + " -H " + &quoted(header));
    let files = "--cert system.crt --key system.key --cacert authority.crt";
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

/// As a shell takes it literally.
fn quoted(text: &str) -> String {
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
