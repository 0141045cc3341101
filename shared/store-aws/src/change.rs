//! A conditional change of one item, put together piece by piece.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::{AttributeValue, Put, ReturnValuesOnConditionCheckFailure, TransactWriteItem, Update};

use crate::item::{Attributes, number, text};

/// The change. Attribute names and values become placeholders, so that no name is a reserved word of DynamoDB's.
#[derive(Debug, Default, Clone)]
pub(crate) struct Change {
    sets: Vec<String>,
    removes: Vec<String>,
    adds: Vec<String>,
    conditions: Vec<String>,
    names: HashMap<String, String>,
    values: HashMap<String, AttributeValue>,
}

impl Change {
    /// A placeholder for an attribute's name.
    pub(crate) fn name(&mut self, attribute: &str) -> String {
        if let Some((placeholder, _)) = self.names.iter().find(|(_, name)| *name == attribute) {
            return placeholder.clone();
        }
        let placeholder = format!("#{}", self.names.len());
        self.names.insert(placeholder.clone(), attribute.to_owned());
        placeholder
    }

    /// A placeholder for a value.
    pub(crate) fn value(&mut self, value: AttributeValue) -> String {
        let placeholder = format!(":{}", self.values.len());
        self.values.insert(placeholder.clone(), value);
        placeholder
    }

    pub(crate) fn set(&mut self, attribute: &str, value: AttributeValue) {
        let (name, value) = (self.name(attribute), self.value(value));
        self.sets.push(format!("{name} = {value}"));
    }

    /// Sets the attribute to what another one holds before the change.
    pub(crate) fn set_to_old(&mut self, attribute: &str, other: &str) {
        let (name, other) = (self.name(attribute), self.name(other));
        self.sets.push(format!("{name} = {other}"));
    }

    /// Adds to a number that may not be there yet.
    pub(crate) fn increase(&mut self, attribute: &str, by: i64) {
        let (name, zero, by) = (self.name(attribute), self.value(number(0)), self.value(number(by)));
        self.sets.push(format!("{name} = if_not_exists({name}, {zero}) + {by}"));
    }

    /// As [`Change::increase`], for items that may not be there either.
    pub(crate) fn add(&mut self, attribute: &str, by: i64) {
        let (name, by) = (self.name(attribute), self.value(number(by)));
        self.adds.push(format!("{name} {by}"));
    }

    /// A clause of SET that is none of the others.
    pub(crate) fn set_raw(&mut self, clause: String) {
        self.sets.push(clause);
    }

    pub(crate) fn remove(&mut self, attribute: &str) {
        let name = self.name(attribute);
        self.removes.push(name);
    }

    /// Whether it changes nothing.
    pub(crate) fn is_empty(&self) -> bool {
        self.sets.is_empty() && self.removes.is_empty() && self.adds.is_empty()
    }

    pub(crate) fn only_if(&mut self, condition: String) {
        self.conditions.push(condition);
    }

    pub(crate) fn only_if_absent(&mut self, attribute: &str) {
        let name = self.name(attribute);
        self.only_if(format!("attribute_not_exists({name})"));
    }

    pub(crate) fn only_if_present(&mut self, attribute: &str) {
        let name = self.name(attribute);
        self.only_if(format!("attribute_exists({name})"));
    }

    pub(crate) fn only_if_equal(&mut self, attribute: &str, value: AttributeValue) {
        let (name, value) = (self.name(attribute), self.value(value));
        self.only_if(format!("{name} = {value}"));
    }

    fn expression(&self) -> String {
        let clause = |verb: &str, parts: &[String]| match parts {
            [] => String::new(),
            parts => format!("{verb} {} ", parts.join(", ")),
        };
        clause("SET", &self.sets) + &clause("REMOVE", &self.removes) + &clause("ADD", &self.adds)
    }

    fn condition(&self) -> Option<String> {
        (!self.conditions.is_empty()).then(|| self.conditions.join(" AND "))
    }

    /// As part of a transaction.
    pub(crate) fn into_write(self, table: &str, pk: &str, sk: &str) -> TransactWriteItem {
        let (expression, condition) = (self.expression(), self.condition());
        let update = Update::builder()
            .table_name(table)
            .key("pk", text(pk))
            .key("sk", text(sk))
            .update_expression(expression)
            .set_condition_expression(condition)
            .set_expression_attribute_names(Some(self.names))
            .set_expression_attribute_values((!self.values.is_empty()).then_some(self.values))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .build();
        // Key, table and expression are all set, which is all that building asks for.
        TransactWriteItem::builder().set_update(update.ok()).build()
    }

    /// By itself.
    pub(crate) fn into_update(
        self,
        client: &aws_sdk_dynamodb::Client,
        table: &str,
        pk: &str,
        sk: &str,
    ) -> aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder {
        let (expression, condition) = (self.expression(), self.condition());
        client
            .update_item()
            .table_name(table)
            .key("pk", text(pk))
            .key("sk", text(sk))
            .update_expression(expression)
            .set_condition_expression(condition)
            .set_expression_attribute_names(Some(self.names))
            .set_expression_attribute_values((!self.values.is_empty()).then_some(self.values))
            .return_values(aws_sdk_dynamodb::types::ReturnValue::AllNew)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
    }
}

/// A new item as part of a transaction, refused when there is one with this key.
pub(crate) fn put_new(table: &str, item: Attributes) -> TransactWriteItem {
    let put = Put::builder()
        .table_name(table)
        .set_item(Some(item))
        .condition_expression("attribute_not_exists(pk)")
        .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
        .build();
    TransactWriteItem::builder().set_put(put.ok()).build()
}
