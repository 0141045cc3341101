//! Choice: the first rule whose condition holds, or the default.

use std::sync::Arc;

use serde_json::Value;

use crate::definition::{Edge, State};
use crate::error::StateError;
use crate::expression::Expression;
use crate::scope::{Scope, Visit};
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
        if let Some((index, rule)) = self.first_that_holds(&mut visit.scope(None))? {
            let left = leave(visit, None, &rule.assign, rule.output.as_ref(), &input, Some(&rule.next))?;
            return Ok(left.by(edge(Some(index))));
        }
        let Some(default) = &self.default else {
            let cause = "No choice rule matched, and there is no Default.";
            return Err(StateError::new("States.NoChoiceMatched", cause));
        };
        // The state's own Assign and Output belong to the default alone.
        let left = leave(visit, None, &state.assign, state.output.as_ref(), &input, Some(default))?;
        Ok(left.by(edge(None)))
    }

    fn first_that_holds(&self, scope: &mut Scope<'_>) -> Result<Option<(usize, &Rule)>, StateError> {
        for (index, rule) in self.rules.iter().enumerate() {
            if rule.condition.holds(scope, index)? {
                return Ok(Some((index, rule)));
            }
        }
        Ok(None)
    }
}

impl Condition {
    fn holds(&self, scope: &mut Scope<'_>, index: usize) -> Result<bool, StateError> {
        match self {
            Self::Literal(literal) => Ok(*literal),
            Self::Expression(expression) => {
                let field = format!("Choices[{index}]/Condition");
                expression.evaluate_to(scope, &field, "boolean", Value::as_bool)
            }
        }
    }
}
