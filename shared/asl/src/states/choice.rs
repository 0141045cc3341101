//! Choice: the first rule whose condition holds, or the default.

use std::sync::Arc;

use serde_json::Value;

use crate::definition::{Edge, State};
use crate::error::StateError;
use crate::expression::Expression;
use crate::scope::Visit;
use crate::states::{Leave, leave};
use crate::template::Template;

#[derive(Debug)]
pub(crate) struct Choice {
    pub(crate) rules: Vec<Rule>,
    pub(crate) default: Option<String>,
}

#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) condition: Condition,
    pub(crate) next: String,
    pub(crate) assign: Vec<(String, Template)>,
    pub(crate) output: Option<Template>,
}

#[derive(Debug)]
pub(crate) enum Condition {
    Literal(bool),
    Expression(Expression),
}

impl Choice {
    pub(crate) fn enter(&self, state: &State, visit: &mut Visit<'_>) -> Result<Leave, StateError> {
        let input = Arc::clone(visit.input);
        let name = visit.context.state.to_owned();
        let edge = |rule| Edge::Choice { state: name, rule };
        for (index, rule) in self.rules.iter().enumerate() {
            if rule.condition.holds(visit, index)? {
                let left = leave(visit, None, &rule.assign, rule.output.as_ref(), &input, Some(&rule.next))?;
                return Ok(left.by(edge(Some(index))));
            }
        }
        let Some(default) = &self.default else {
            let cause = "No choice rule matched, and there is no Default.";
            return Err(StateError::new("States.NoChoiceMatched", cause));
        };
        // The state's own Assign and Output belong to the default alone.
        let left = leave(visit, None, &state.assign, state.output.as_ref(), &input, Some(default))?;
        Ok(left.by(edge(None)))
    }
}

impl Condition {
    fn holds(&self, visit: &mut Visit<'_>, index: usize) -> Result<bool, StateError> {
        match self {
            Self::Literal(literal) => Ok(*literal),
            Self::Expression(expression) => {
                let field = format!("Choices[{index}]/Condition");
                expression.evaluate_to(&mut visit.scope(None), &field, "boolean", Value::as_bool)
            }
        }
    }
}
