//! The one shape in which a failure reaches a person.

use super::Exit;
use crate::report::layout::labelled;
use crate::report::style;

/// A command that could not do what it was asked.
#[derive(Debug)]
pub struct Failure {
    /// How the process ends.
    pub exit: Exit,
    /// What stands before it, laid out already; empty for nothing.
    pub detail: Box<str>,
    /// What failed, on which object.
    pub headline: String,
    /// Why, from the nearest cause to the farthest.
    pub causes: Vec<String>,
    /// In which state the host is now.
    pub state: Option<String>,
    /// What to do next.
    pub hints: Vec<String>,
}

impl Failure {
    /// A failure of which only the headline is known.
    pub fn new(exit: Exit, headline: impl Into<String>) -> Self {
        Self {
            exit,
            detail: Box::default(),
            headline: headline.into(),
            causes: Vec::new(),
            state: None,
            hints: Vec::new(),
        }
    }

    /// A failure that an error of a stage explains; its sources become causes.
    pub fn from_error(
        exit: Exit,
        headline: impl Into<String>,
        error: &dyn std::error::Error,
    ) -> Self {
        let mut failure = Self::new(exit, headline);
        let mut next = Some(error);
        while let Some(error) = next {
            let text = error.to_string();
            // Some errors repeat their source in their own text; once is enough.
            if !failure.causes.iter().any(|cause| cause.ends_with(&text)) {
                failure.causes.push(text);
            }
            next = error.source();
        }
        failure
    }

    /// Puts a text before it that is laid out already, such as a policy's errors.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = detail.into().into_boxed_str();
        self
    }

    /// Says in which state the host is.
    #[must_use]
    pub fn state(mut self, state: impl Into<String>) -> Self {
        self.state = Some(state.into());
        self
    }

    /// Says what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// The text for a terminal of so many columns, with styles.
    pub fn render(&self, width: usize) -> String {
        let mut text = self.detail.to_string();
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str(&labelled(0, "error:", style::ERROR, &self.headline, width));
        let mut line = |label: &str, body: &str| {
            text.push_str(&labelled(
                2,
                &format!("{label:<6}"),
                style::STRONG,
                body.trim_end(),
                width,
            ));
        };
        self.causes.iter().for_each(|cause| line("cause:", cause));
        self.state.iter().for_each(|state| line("host:", state));
        self.hints.iter().for_each(|hint| line("next:", hint));
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_says_what_why_the_state_and_the_next_step() {
        let failure = Failure::from_error(
            Exit::Failed,
            "the snapshot `web.json` cannot be read",
            &std::io::Error::from_raw_os_error(2),
        )
        .state("nothing was changed")
        .hint("`fwctl snapshot > FILE` on the host makes one");
        let plain = anstream::adapter::strip_str(&failure.render(80)).to_string();
        assert_eq!(
            plain,
            "error: the snapshot `web.json` cannot be read\n\
             \x20 cause: No such file or directory (os error 2)\n\
             \x20 host:  nothing was changed\n\
             \x20 next:  `fwctl snapshot > FILE` on the host makes one\n"
        );
    }
}
