//! The wording rules that a program can see: how doc summaries open, and which words and forms no text uses.

use std::path::{Path, PathBuf};

use syn::visit::{self, Visit};

use crate::source::{files, parse, relative, root};
use crate::words::lexicon::{DIALECT, MESSAGE_PHRASES, OPENERS, PHRASES, VERBS};

mod lexicon;

/// Widest line of a comment, in columns, as in rustfmt.toml.
const WIDTH: usize = 120;

/// Openings of doc summaries, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Openings {
    /// Summaries.
    pub all: usize,
    /// Summaries that open with a verb in the third person.
    pub verbs: usize,
    /// Summaries that open with What, Whether, How, Who or It.
    pub refused: usize,
}

/// A place in a source file and the rule that it breaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    path: PathBuf,
    line: usize,
    /// The rule and the text, for a person.
    pub text: String,
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}: {}", relative(&self.path), self.line, self.text)
    }
}

/// Counts the openings of the doc summaries in the file `path`.
///
/// # Panics
/// The file cannot be read or parsed.
#[must_use]
pub fn openings(path: &Path) -> (Openings, Vec<Finding>) {
    let (file, _) = parse(path);
    let mut summaries = Summaries::default();
    summaries.note(&file.attrs);
    summaries.visit_file(&file);
    let mut count = Openings { all: summaries.found.len(), ..Openings::default() };
    let mut findings = Vec::new();
    for (line, text) in summaries.found {
        let first = text.split(|c: char| !c.is_alphanumeric() && c != '\'').next().unwrap_or_default();
        count.verbs += usize::from(VERBS.binary_search(&first).is_ok());
        if OPENERS.contains(&first) {
            count.refused += 1;
            findings.push(Finding { path: path.to_owned(), line, text: format!("summary opens with {first}: {text}") });
        }
    }
    (count, findings)
}

/// Returns the places in the file `path` that break a rule.
///
/// # Panics
/// The file cannot be read or parsed.
#[must_use]
pub fn findings(path: &Path) -> Vec<Finding> {
    let (file, text) = parse(path);
    let mut found = Findings { path, found: Vec::new() };
    found.visit_file(&file);
    for (number, line) in (1..).zip(text.lines()) {
        let comment = line.find("//").filter(|at| !line[..*at].contains('"')).map(|at| &line[at..]);
        let Some(comment) = comment else { continue };
        found.check_text(number, comment);
        let width = line.chars().count();
        if width > WIDTH && !line.contains("http") {
            found.note(number, format!("comment is {width} columns wide: wrap it at {WIDTH}"));
        }
    }
    found.found
}

/// Returns the Rust files whose words count: all of the workspace.
#[must_use]
pub fn texts() -> Vec<PathBuf> {
    let is_own = |path: &PathBuf| !path.ends_with("words/lexicon.rs");
    files(root(), "rs").into_iter().filter(is_own).collect()
}

/// Collects doc summaries with their lines.
#[derive(Default)]
struct Summaries {
    found: Vec<(usize, String)>,
}

impl Summaries {
    /// Notes the summary among `attributes`: the first line of text of a run of doc attributes of one style.
    fn note(&mut self, attributes: &[syn::Attribute]) {
        for is_inner in [false, true] {
            let style = |attribute: &&syn::Attribute| matches!(attribute.style, syn::AttrStyle::Inner(_)) == is_inner;
            let first = attributes.iter().filter(style).find_map(|attribute| match &attribute.meta {
                syn::Meta::NameValue(pair) if pair.path.is_ident("doc") => match &pair.value {
                    syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(text), .. }) => Some(text),
                    _ => None,
                },
                _ => None,
            });
            let Some(first) = first else { continue };
            self.found.push((first.span().start().line, first.value().trim().to_owned()));
        }
    }
}

impl<'ast> Visit<'ast> for Summaries {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        let attributes = match item {
            syn::Item::Const(item) => &item.attrs,
            syn::Item::Enum(item) => &item.attrs,
            syn::Item::Fn(item) => &item.attrs,
            syn::Item::Impl(item) => &item.attrs,
            syn::Item::Macro(item) => &item.attrs,
            syn::Item::Mod(item) => &item.attrs,
            syn::Item::Static(item) => &item.attrs,
            syn::Item::Struct(item) => &item.attrs,
            syn::Item::Trait(item) => &item.attrs,
            syn::Item::Type(item) => &item.attrs,
            syn::Item::Union(item) => &item.attrs,
            _ => return visit::visit_item(self, item),
        };
        self.note(attributes);
        visit::visit_item(self, item);
    }

    fn visit_field(&mut self, field: &'ast syn::Field) {
        self.note(&field.attrs);
        visit::visit_field(self, field);
    }

    fn visit_variant(&mut self, variant: &'ast syn::Variant) {
        self.note(&variant.attrs);
        visit::visit_variant(self, variant);
    }

    fn visit_impl_item(&mut self, item: &'ast syn::ImplItem) {
        match item {
            syn::ImplItem::Const(item) => self.note(&item.attrs),
            syn::ImplItem::Fn(item) => self.note(&item.attrs),
            syn::ImplItem::Type(item) => self.note(&item.attrs),
            _ => {}
        }
        visit::visit_impl_item(self, item);
    }

    fn visit_trait_item(&mut self, item: &'ast syn::TraitItem) {
        match item {
            syn::TraitItem::Const(item) => self.note(&item.attrs),
            syn::TraitItem::Fn(item) => self.note(&item.attrs),
            syn::TraitItem::Type(item) => self.note(&item.attrs),
            _ => {}
        }
        visit::visit_trait_item(self, item);
    }
}

/// Collects the places that break a rule.
struct Findings<'a> {
    path: &'a Path,
    found: Vec<Finding>,
}

impl Findings<'_> {
    fn note(&mut self, line: usize, text: String) {
        self.found.push(Finding { path: self.path.to_owned(), line, text });
    }

    /// Checks a message or another literal.
    fn check_message(&mut self, line: usize, text: &str) {
        self.check_text(line, text);
        let lower = text.to_lowercase();
        if let Some(phrase) = MESSAGE_PHRASES.iter().find(|phrase| lower.contains(*phrase)) {
            self.note(line, format!("`{phrase}` in a message: say \"cannot X: Y; do Z\": {}", text.trim()));
        }
    }

    /// Checks a comment or a message.
    fn check_text(&mut self, line: usize, text: &str) {
        let lower = text.to_lowercase();
        let words: Vec<_> = lower.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
        if let Some(word) = words.iter().find(|word| DIALECT.contains(word)) {
            self.note(line, format!("`{word}`: use the field's term or name the subject: {}", text.trim()));
        }
        let joined = format!(" {} ", words.join(" "));
        if let Some(phrase) = PHRASES.iter().find(|phrase| joined.contains(&format!(" {phrase} "))) {
            self.note(line, format!("`{phrase}`: use the field's term or name the subject: {}", text.trim()));
        }
    }

    /// Checks a name that the code defines.
    fn check_name(&mut self, name: &syn::Ident) {
        let words = split_name(&name.to_string());
        if let Some(word) = words.iter().find(|word| DIALECT.contains(&word.as_str())) {
            self.note(name.span().start().line, format!("name `{name}`: use a term of the field instead of `{word}`"));
        }
    }

    fn check_signature(&mut self, signature: &syn::Signature) {
        self.check_name(&signature.ident);
        let types = signature.inputs.iter().map(|input| match input {
            syn::FnArg::Typed(typed) => name_of(&typed.ty),
            syn::FnArg::Receiver(_) => String::new(),
        });
        let result = match &signature.output {
            syn::ReturnType::Type(_, result) => name_of(result),
            syn::ReturnType::Default => String::new(),
        };
        for form in types.chain([result]) {
            if form.contains("Option<Result<") || form.contains("Option<bool>") {
                let line = signature.ident.span().start().line;
                self.note(line, format!("`{form}` in the signature of `{}`: use an enum", signature.ident));
            }
        }
    }
}

impl<'ast> Visit<'ast> for Findings<'_> {
    fn visit_signature(&mut self, signature: &'ast syn::Signature) {
        self.check_signature(signature);
        visit::visit_signature(self, signature);
    }

    fn visit_item_struct(&mut self, item: &'ast syn::ItemStruct) {
        self.check_name(&item.ident);
        visit::visit_item_struct(self, item);
    }

    fn visit_item_enum(&mut self, item: &'ast syn::ItemEnum) {
        self.check_name(&item.ident);
        visit::visit_item_enum(self, item);
    }

    fn visit_item_trait(&mut self, item: &'ast syn::ItemTrait) {
        self.check_name(&item.ident);
        visit::visit_item_trait(self, item);
    }

    fn visit_field(&mut self, field: &'ast syn::Field) {
        if let Some(name) = &field.ident {
            self.check_name(name);
        }
        visit::visit_field(self, field);
    }

    fn visit_variant(&mut self, variant: &'ast syn::Variant) {
        self.check_name(&variant.ident);
        if ["None", "Some", "All"].iter().any(|name| variant.ident == name) {
            let line = variant.ident.span().start().line;
            self.note(line, format!("variant `{}`: name what it stands for", variant.ident));
        }
        visit::visit_variant(self, variant);
    }

    fn visit_lit_str(&mut self, text: &'ast syn::LitStr) {
        self.check_message(text.span().start().line, &text.value());
    }

    fn visit_macro(&mut self, item: &'ast syn::Macro) {
        self.visit_tokens(item.tokens.clone());
        visit::visit_macro(self, item);
    }

    fn visit_attribute(&mut self, attribute: &'ast syn::Attribute) {
        // Docs are comments, which are checked line by line; other attributes, such as thiserror's, have messages.
        if let syn::Meta::List(list) = &attribute.meta {
            self.visit_tokens(list.tokens.clone());
        }
    }
}

impl Findings<'_> {
    /// Checks the string literals among the tokens of a macro or an attribute.
    fn visit_tokens(&mut self, tokens: proc_macro2::TokenStream) {
        for token in tokens {
            match token {
                proc_macro2::TokenTree::Group(group) => self.visit_tokens(group.stream()),
                proc_macro2::TokenTree::Literal(literal) => {
                    let text = literal.to_string();
                    if text.starts_with('"') {
                        self.check_message(literal.span().start().line, &text);
                    }
                }
                _ => {}
            }
        }
    }
}

/// Returns the type as text without spaces.
fn name_of(form: &syn::Type) -> String {
    struct Text(String);
    impl<'ast> Visit<'ast> for Text {
        fn visit_path_segment(&mut self, segment: &'ast syn::PathSegment) {
            self.0.push_str(&segment.ident.to_string());
            if let syn::PathArguments::AngleBracketed(arguments) = &segment.arguments {
                self.0.push('<');
                visit::visit_angle_bracketed_generic_arguments(self, arguments);
                self.0.push('>');
            }
        }
    }
    let mut text = Text(String::new());
    text.visit_type(form);
    text.0
}

/// Returns the words of a name in snake case or camel case, in lower case.
fn split_name(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    for c in name.chars() {
        if c == '_' || c.is_uppercase() {
            words.push(String::new());
        }
        if let Some(word) = words.last_mut() {
            word.extend(c.to_lowercase().filter(|c| *c != '_'));
        }
    }
    words
}
