//! A file of a contract as proto source: what was compiled, written down again, with its comments.
//!
//! Compiled, the source gives the same descriptors; `tests/round_trip.rs` proves it. Comments come from the file's
//! source information, where it was published with it. The same descriptors always give the same text.

mod comments;
mod names;
mod options;
mod text;
mod types;

use prost_reflect::{DescriptorPool, ExtensionDescriptor, FileDescriptor, ServiceDescriptor, Syntax};

use comments::Comments;
pub(crate) use names::Names;
pub(crate) use options::{Setting, settings};

/// Prints the files of one pool.
pub struct Printer {
    names: Names,
}

impl Printer {
    /// A printer for the files of `pool`.
    pub fn new(pool: &DescriptorPool) -> Self {
        Self { names: Names::of(pool) }
    }

    /// The file as proto source, UTF-8, ending in a line break.
    pub fn print(&self, file: &FileDescriptor) -> String {
        let mut page = Page {
            names: &self.names,
            comments: Comments::of(file),
            proto3: file.syntax() == Syntax::Proto3,
            package: file.package_name().to_owned(),
            out: String::new(),
            indent: 0,
        };
        page.file(file);
        page.out
    }
}

/// What is being written.
struct Page<'a> {
    names: &'a Names,
    comments: Comments,
    proto3: bool,
    package: String,
    out: String,
    indent: usize,
}

impl Page<'_> {
    fn file(&mut self, file: &FileDescriptor) {
        let proto = file.file_descriptor_proto();
        self.leading(&[12]);
        self.line(if self.proto3 { "syntax = \"proto3\";" } else { "syntax = \"proto2\";" });
        if !self.package.is_empty() {
            self.blank();
            self.leading(&[2]);
            self.line(&format!("package {};", self.package));
        }
        self.imports(file);
        let settings = settings(&file.options(), self.names, &self.package);
        if !settings.is_empty() {
            self.blank();
            self.option_lines(&settings);
        }
        for (place, service) in (0..).zip(file.services()) {
            self.blank();
            self.service(&service, &[6, place]);
        }
        let skipped = types::groups(file.extensions());
        for (place, message) in (0..).zip(file.messages()) {
            if !skipped.contains(message.full_name()) {
                self.blank();
                self.message(&message, &[4, place]);
            }
        }
        for (place, values) in (0..).zip(file.enums()) {
            self.blank();
            self.enumeration(&values, &[5, place]);
        }
        let extensions: Vec<ExtensionDescriptor> = file.extensions().collect();
        if !extensions.is_empty() {
            self.extensions(&extensions, &[7], proto.package());
        }
    }

    fn imports(&mut self, file: &FileDescriptor) {
        let proto = file.file_descriptor_proto();
        if !proto.dependency.is_empty() {
            self.blank();
        }
        for (place, name) in (0..).zip(&proto.dependency) {
            let kind = if proto.public_dependency.contains(&place) {
                "public "
            } else if proto.weak_dependency.contains(&place) {
                "weak "
            } else {
                ""
            };
            self.leading(&[3, place]);
            self.line(&format!("import {kind}{};", text::quoted(name.as_bytes())));
        }
    }

    fn service(&mut self, service: &ServiceDescriptor, path: &[i32]) {
        self.leading(path);
        let settings = settings(&service.options(), self.names, service.full_name());
        if service.methods().len() == 0 && settings.is_empty() {
            self.line(&format!("service {} {{}}", service.name()));
            return;
        }
        self.open(&format!("service {}", service.name()));
        self.option_lines(&settings);
        for (place, method) in (0..).zip(service.methods()) {
            let path = [path, &[2, place]].concat();
            self.leading(&path);
            let scope = service.full_name();
            let stream = |streams: bool| if streams { "stream " } else { "" };
            let head = format!(
                "rpc {}({}{}) returns ({}{})",
                method.name(),
                stream(method.is_client_streaming()),
                self.names.seen_from(scope, &self.package, method.input().full_name()),
                stream(method.is_server_streaming()),
                self.names.seen_from(scope, &self.package, method.output().full_name()),
            );
            let settings = options::settings(&method.options(), self.names, method.full_name());
            if settings.is_empty() {
                self.element(&format!("{head};"), &path);
            } else {
                self.open(&head);
                self.option_lines(&settings);
                self.close();
            }
        }
        self.close();
    }

    /// `option name = value;`, one a line.
    fn option_lines(&mut self, settings: &[Setting]) {
        for setting in settings {
            self.line(&format!("option {} = {};", setting.name, setting.value));
        }
    }

    /// An element without a body, its trailing comment behind it.
    fn element(&mut self, text: &str, path: &[i32]) {
        match self.comments.trailing(path) {
            Some(comment) => self.line(&format!("{text}  {comment}")),
            None => self.line(text),
        }
    }

    fn leading(&mut self, path: &[i32]) {
        let comments = self.comments.leading(path);
        for (number, paragraph) in comments.iter().enumerate() {
            if number > 0 {
                self.out.push('\n');
            }
            for line in paragraph {
                self.line(line);
            }
        }
    }

    fn open(&mut self, head: &str) {
        self.line(&format!("{head} {{"));
        self.indent += 1;
    }

    fn close(&mut self) {
        self.indent -= 1;
        self.line("}");
    }

    /// One empty line, but none at the beginning of a block or after another.
    fn blank(&mut self) {
        if !self.out.ends_with("\n\n") && !self.out.ends_with("{\n") && !self.out.is_empty() {
            self.out.push('\n');
        }
    }

    /// Lines at the present depth.
    fn line(&mut self, text: &str) {
        for line in text.split('\n') {
            if !line.is_empty() {
                self.out.extend(std::iter::repeat_n("  ", self.indent));
                self.out.push_str(line);
            }
            self.out.push('\n');
        }
    }
}
