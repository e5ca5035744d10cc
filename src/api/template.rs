//! Text with placeholders for the address of the server.

use super::base_url::BaseUrl;
use crate::schema::address;
use std::borrow::Cow;

/// Text whose placeholders ([`address::PLACEHOLDERS`]) have been found.
pub(crate) struct Template {
    text: Cow<'static, str>,
    /// Start and text of each placeholder.
    found: Vec<(usize, &'static str)>,
}

impl Template {
    /// Finds the placeholders of a text.
    pub(crate) fn new(text: impl Into<Cow<'static, str>>) -> Template {
        let text = text.into();
        let mut found = Vec::new();
        let begins = |c: char| address::PLACEHOLDERS.iter().any(|placeholder| placeholder.starts_with(c));
        let mut end = 0;
        while let Some(start) = text[end..].find(begins).map(|offset| end + offset) {
            let placeholder = address::PLACEHOLDERS.into_iter().find(|known| text[start..].starts_with(known));
            found.extend(placeholder.map(|placeholder| (start, placeholder)));
            end = start + placeholder.map_or(1, str::len);
        }
        Template { text, found }
    }

    /// Returns the text with the address `base`.
    pub(crate) fn fill(&self, base: &BaseUrl) -> String {
        let values = base.values();
        let mut filled = String::with_capacity(self.text.len());
        let mut end = 0;
        for (start, placeholder) in &self.found {
            filled.push_str(&self.text[end..*start]);
            filled.extend(values.iter().filter(|(known, _)| known == placeholder).map(|(_, value)| value.as_str()));
            end = start + placeholder.len();
        }
        filled + &self.text[end..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_replaced_once() {
        let template = Template::new(
            "curl 'http://localhost:8080/x' ws://localhost:8080/y grpcurl -plaintext localhost:8080 z {http} {ws} \
             {prefix}/ localhost:8080 well-known ä",
        );
        for (base, filled) in [
            (
                "https://a.example/b",
                "curl 'https://a.example/b/x' wss://a.example/b/y grpcurl a.example:443 z https wss \
                 /b/ a.example:443 well-known ä",
            ),
            // This address contains a placeholder.
            (
                "http://localhost:8080",
                "curl 'http://localhost:8080/x' ws://localhost:8080/y grpcurl -plaintext localhost:8080 z http ws \
                 / localhost:8080 well-known ä",
            ),
            (
                "http://[::1]",
                "curl 'http://[::1]/x' ws://[::1]/y grpcurl -plaintext '[::1]:80' z http ws \
                 / [::1]:80 well-known ä",
            ),
        ] {
            assert_eq!(template.fill(&BaseUrl::parse(base).unwrap()), filled);
        }
        assert_eq!(Template::new("").fill(&BaseUrl::example()), "");
    }
}
