//! One page of what a service keeps of a person.

use contracts::dataset::{DatasetType, first_mention, is_own};
use contracts::{ActivityError, ErrorName};
use downstream::Service;
use downstream::data::{Page, personal_page};

use super::super::selection::Question;
use crate::Context;
use crate::files::lost;

pub(super) fn service_of(of: &DatasetType) -> Result<Service, ActivityError> {
    Service::named(&of.service).ok_or_else(|| lost("the service of a type"))
}

/// A page of the person's things, or of things that mention the person. Others are never touched, whatever the service says.
pub(super) async fn page(
    context: &Context<'_>,
    of: &DatasetType,
    person: &str,
    question: Question,
    cursor: Option<&str>,
) -> Result<Page, ActivityError> {
    let asked = (person, question.asked(of));
    let service = service_of(of)?;
    let page = personal_page(context.downstream, service, &of.entity_type, context.tenant_id(), asked, (cursor, false))
        .await?;
    let is_asked_for = |data| match question {
        Question::Own => is_own(of, data, person),
        Question::Mention(_) => is_own(of, data, person) || first_mention(of, data, person).is_some(),
    };
    match page.items.iter().all(|thing| is_asked_for(&thing.data)) {
        true => Ok(page),
        false => {
            let message = format!("{}: answered with a {} of somebody else", of.service, of.entity_type);
            Err(ActivityError::new(ErrorName::IntegrityViolation, message))
        }
    }
}
