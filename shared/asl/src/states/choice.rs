//! Choice: the first rule whose condition holds, or the default.

use std::sync::Arc;

use serde_json::Value;

use super::leave::{Exit, Leave};
use crate::edge::Edge;
use crate::error::StateError;
use crate::expression::Expression;
use crate::scope::{Scope, Visit};

#[derive(Debug)]
pub(crate) struct Choice {
    pub(crate) rules: Vec<Rule>,
    pub(crate) default: Option<String>,
}

#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) condition: Condition,
    pub(crate) exit: Exit,
}

#[derive(Debug)]
pub(crate) enum Condition {
    Literal(bool),
    Expression(Expression),
}

impl Choice {
    pub(crate) fn enter(&self, exit: &Exit, visit: &mut Visit<'_>) -> Result<Leave, StateError> {
        let input = Arc::clone(visit.input);
        let name = visit.context.state.to_owned();
        let edge = |rule| Edge::Choice { state: name, rule };
        if let Some((index, rule)) = self.first_that_holds(&mut visit.scope(None))? {
            return Ok(rule.exit.leave(visit, None, &input)?.by(edge(Some(index))));
        }
        let Some(default) = &self.default else {
            let cause = "No choice rule matched, and there is no Default.";
            return Err(StateError::new("States.NoChoiceMatched", cause));
        };
        // The state's own Assign and Output belong to the default alone.
        Ok(exit.leave(visit, None, &input)?.to(default).by(edge(None)))
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
