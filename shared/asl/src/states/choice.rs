//! Choice: the first rule whose condition holds, or the default.

use serde_json::Value;

use crate::definition::{Edge, State};
use crate::error::StateError;
use crate::execution::Visit;
use crate::expression::{Expression, Template};
use crate::states::{Leave, leave};

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
        let input = visit.input.clone();
        let edge = |rule| Some(Edge::Choice { state: visit.state.to_owned(), rule });
        for (index, rule) in self.rules.iter().enumerate() {
            let holds = match &rule.condition {
                Condition::Literal(literal) => *literal,
                Condition::Expression(expression) => {
                    let field = format!("Choices[{index}]/Condition");
                    expression.evaluate_to(&mut visit.scope(None), &field, "boolean", Value::as_bool)?
                }
            };
            if holds {
                let edge = edge(Some(index));
                let next = Some(rule.next.clone());
                let left = leave(visit, None, &rule.assign, rule.output.as_ref(), input, next)?;
                return Ok(Leave { edge, ..left });
            }
        }
        let Some(default) = &self.default else {
            return Err(StateError::new("States.NoChoiceMatched", "No choice rule matched, and there is no Default."));
        };
        // The state's own Assign and Output belong to the default alone.
        let edge = edge(None);
        let left = leave(visit, None, &state.assign, state.output.as_ref(), input, Some(default.clone()))?;
        Ok(Leave { edge, ..left })
    }
}
