//! Variables that an evaluation reads where they are, one level at a time, and its result, in which what it only handed
//! on is copied as a whole.

use std::cell::RefCell;
use std::rc::{Rc, Weak};

use jlens_core::input::{Sink, Source, Sources};
use jlens_core::output::{Builder, Member};
use serde_json::{Map, Value};

use crate::scope::{Scope, View, iso};
use crate::size;

/// The variables of a scope, as the fields of an object.
pub(crate) struct VariableSource<'a>(Rc<Places<'a>>);

/// Arrays and objects that an evaluation has come across, by their number.
struct Places<'a> {
    this: Weak<Self>,
    places: RefCell<Vec<Place<'a>>>,
}

#[derive(Clone, Copy)]
enum Place<'a> {
    Variables(&'a Scope<'a>),
    Json(&'a Value),
    View(&'a [(&'static str, View<'a>)]),
}

impl<'a> VariableSource<'a> {
    pub(crate) fn of(scope: &'a Scope<'a>) -> Self {
        let places = RefCell::new(vec![Place::Variables(scope)]);
        Self(Rc::new_cyclic(|this| Places { this: Weak::clone(this), places }))
    }
}

impl<'a> Source<'a> for VariableSource<'a> {
    fn read(&self, sink: &mut Sink<'_, 'a>) -> Result<(), String> {
        sink.object_of(&self.0, 0);
        Ok(())
    }
}

impl<'a> Places<'a> {
    fn at(&self, index: u32) -> Option<Place<'a>> {
        self.places.borrow().get(index as usize).copied()
    }

    /// The array or object, and its number from now on.
    fn number(&self, place: Place<'a>) -> Option<(Rc<Self>, u32)> {
        let mut places = self.places.borrow_mut();
        let index = u32::try_from(places.len()).ok()?;
        places.push(place);
        Some((self.this.upgrade()?, index))
    }

    fn write(&self, value: &'a Value, sink: &mut Sink<'_, 'a>) {
        match value {
            Value::Null => sink.null(),
            Value::Bool(value) => sink.bool(*value),
            Value::Number(number) => sink.number(number.as_f64().unwrap_or(f64::NAN)),
            Value::String(text) => sink.string(text),
            Value::Array(_) => {
                if let Some((places, index)) = self.number(Place::Json(value)) {
                    sink.array_of(&places, index);
                }
            }
            Value::Object(_) => {
                if let Some((places, index)) = self.number(Place::Json(value)) {
                    sink.object_of(&places, index);
                }
            }
        }
    }

    fn write_view(&self, view: &'a View<'a>, sink: &mut Sink<'_, 'a>) {
        match view {
            View::Json(value) => self.write(value, sink),
            View::Text(text) => sink.string(text),
            View::Number(number) => sink.number(f64::from(*number)),
            View::Index(index) => sink.number(*index as f64),
            View::Time(at) => sink.string(&iso(*at)),
            View::Object(fields) => {
                if let Some((places, index)) = self.number(Place::View(fields)) {
                    sink.object_of(&places, index);
                }
            }
        }
    }

    fn write_field(&self, place: Place<'a>, key: &str, sink: &mut Sink<'_, 'a>) {
        match place {
            Place::Variables(scope) if key == "states" => self.write_view(&scope.states, sink),
            Place::Variables(scope) => {
                if let Some(value) = scope.variables.get(key) {
                    self.write(value, sink);
                }
            }
            Place::Json(value) => {
                if let Some(value) = value.get(key) {
                    self.write(value, sink);
                }
            }
            Place::View(fields) => {
                if let Some((_, view)) = fields.iter().find(|(name, _)| *name == key) {
                    self.write_view(view, sink);
                }
            }
        }
    }
}

impl<'a> Sources<'a> for Places<'a> {
    fn read(&self, index: u32, sink: &mut Sink<'_, 'a>) -> Result<(), String> {
        match self.at(index) {
            Some(Place::Json(Value::Array(items))) => {
                sink.reserve(items.len());
                items.iter().for_each(|item| self.write(item, sink));
            }
            Some(Place::Json(Value::Object(fields))) => {
                sink.reserve(fields.len());
                for (name, value) in fields {
                    sink.key(name);
                    self.write(value, sink);
                }
            }
            Some(Place::View(fields)) => {
                for (name, view) in fields {
                    sink.key(name);
                    self.write_view(view, sink);
                }
            }
            // Nobody asks for all variables at once, and what is neither array nor object has no number.
            Some(Place::Variables(_) | Place::Json(_)) | None => {}
        }
        Ok(())
    }

    fn read_field(&self, index: u32, key: &str, sink: &mut Sink<'_, 'a>) -> Result<bool, String> {
        if let Some(place) = self.at(index) {
            self.write_field(place, key, sink);
        }
        Ok(true)
    }

    fn length(&self, index: u32) -> Option<usize> {
        match self.at(index) {
            Some(Place::Json(Value::Array(items))) => Some(items.len()),
            _ => None,
        }
    }

    fn read_item(&self, index: u32, item: usize, sink: &mut Sink<'_, 'a>) -> Result<bool, String> {
        let Some(Place::Json(Value::Array(items))) = self.at(index) else { return Ok(false) };
        if let Some(value) = items.get(item) {
            self.write(value, sink);
        }
        Ok(true)
    }
}

/// Builds a result as JSON.
pub(crate) struct ResultBuilder<'v, 'a> {
    variables: &'v VariableSource<'a>,
    /// Bytes that may be copied as a whole.
    budget: usize,
    /// Whether there was more to copy than that.
    pub(crate) is_too_large: bool,
}

impl<'v, 'a> ResultBuilder<'v, 'a> {
    pub(crate) fn new(variables: &'v VariableSource<'a>, max_bytes: usize) -> Self {
        Self { variables, budget: max_bytes, is_too_large: false }
    }
}

impl Builder for ResultBuilder<'_, '_> {
    type Value = Value;
    type Array = Vec<Value>;
    type Object = Map<String, Value>;

    fn null(&mut self) -> Value {
        Value::Null
    }

    fn bool(&mut self, value: bool) -> Value {
        Value::Bool(value)
    }

    fn number(&mut self, value: f64) -> Value {
        Value::from(value)
    }

    fn string(&mut self, value: &str) -> Value {
        Value::from(value)
    }

    fn array(&mut self, len: usize) -> Vec<Value> {
        Vec::with_capacity(len)
    }

    fn push(&mut self, array: &mut Vec<Value>, item: Value) {
        array.push(item);
    }

    fn end_array(&mut self, array: Vec<Value>) -> Value {
        Value::Array(array)
    }

    fn object(&mut self, len: usize) -> Map<String, Value> {
        Map::with_capacity(len)
    }

    fn insert(&mut self, object: &mut Map<String, Value>, key: &str, value: Value) {
        object.insert(key.to_owned(), value);
    }

    fn end_object(&mut self, object: Map<String, Value>) -> Value {
        Value::Object(object)
    }

    fn input(&mut self, member: Member) -> Option<Value> {
        let places = &self.variables.0;
        let Place::Json(value) = places.at(member.index()).filter(|_| member.of(places))? else { return None };
        if self.is_too_large || !size::fits(value, &mut self.budget) {
            self.is_too_large = true;
            return Some(Value::Null);
        }
        Some(value.clone())
    }
}
