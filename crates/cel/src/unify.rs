//! Which type can stand where another is wanted, and what that says about types yet unknown. The rules are the ones of
//! the CEL specification's gradual typing, as cel-go applies them.

use crate::Type;

/// What is known of type variables.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known {
    types: Vec<Option<Type>>,
}

impl Known {
    /// A type nothing is known of yet.
    pub(crate) fn fresh(&mut self) -> Type {
        self.types.push(None);
        Type::Var(self.types.len() as u32 - 1)
    }

    fn find(&self, ty: &Type) -> Option<&Type> {
        match ty {
            Type::Var(index) => self.types.get(*index as usize)?.as_ref(),
            _ => None,
        }
    }

    fn set(&mut self, variable: &Type, ty: Type) {
        if let Type::Var(index) = variable {
            self.types[*index as usize] = Some(ty);
        }
    }

    /// The type with what is known filled in; what is not becomes `dyn` if `finally`.
    pub(crate) fn substitute(&self, ty: &Type, finally: bool) -> Type {
        if let Some(known) = self.find(ty) {
            return self.substitute(known, finally);
        }
        match ty {
            Type::Var(_) if finally => Type::Dyn,
            Type::List(item) => Type::list(self.substitute(item, finally)),
            Type::Optional(inner) => Type::optional(self.substitute(inner, finally)),
            Type::Map(entry) => Type::map(
                self.substitute(&entry.0, finally),
                self.substitute(&entry.1, finally),
            ),
            Type::Type(Some(inner)) => Type::Type(Some(self.substitute(inner, finally).into())),
            _ => ty.clone(),
        }
    }

    /// Whether `a` can stand for `b`; if so, what follows for type variables is kept, otherwise nothing is.
    pub(crate) fn assignable(&mut self, a: &Type, b: &Type) -> bool {
        self.assignable_all(std::slice::from_ref(a), std::slice::from_ref(b))
    }

    /// The same for several at once.
    pub(crate) fn assignable_all(&mut self, from: &[Type], to: &[Type]) -> bool {
        if from.len() != to.len() {
            return false;
        }
        let before = self.types.clone();
        let fits = from.iter().zip(to).all(|(a, b)| self.fits(a, b));
        if !fits {
            self.types = before;
        }
        fits
    }

    fn fits(&mut self, a: &Type, b: &Type) -> bool {
        if matches!(b, Type::Var(_)) {
            match self.stands_for(a, b) {
                (true, _) => return true,
                (false, true) => return false,
                _ => {}
            }
        }
        if matches!(a, Type::Var(_)) {
            return self.stands_for(b, a).0;
        }
        match (a, b) {
            (Type::Dyn | Type::Error, _)
            | (_, Type::Dyn | Type::Error)
            | (Type::Type(_), Type::Type(_)) => true,
            (Type::Null, other) | (other, Type::Null) => matches!(
                other,
                Type::Null
                    | Type::Optional(_)
                    | Type::Opaque(_)
                    | Type::Object(_)
                    | Type::Duration
                    | Type::Timestamp
            ),
            (Type::List(a), Type::List(b)) | (Type::Optional(a), Type::Optional(b)) => {
                self.fits(a, b)
            }
            (Type::Map(a), Type::Map(b)) => self.fits(&a.0, &b.0) && self.fits(&a.1, &b.1),
            _ => a == b,
        }
    }

    /// Whether `ty` can stand for the variable, and whether something was known of it before.
    fn stands_for(&mut self, ty: &Type, variable: &Type) -> (bool, bool) {
        if ty == variable {
            return (true, true);
        }
        if let Some(known) = self.find(variable).cloned() {
            if *ty == known {
                return (true, true);
            }
            if self.fits(ty, &known) {
                let general = if less_specific(ty, &known) {
                    ty.clone()
                } else {
                    known
                };
                if !self.occurs(variable, &general) {
                    self.set(variable, general);
                }
                return (true, true);
            }
            return (false, true);
        }
        if self.occurs(variable, ty) {
            return (false, false);
        }
        self.set(variable, ty.clone());
        (true, false)
    }

    /// Whether the variable is part of the type.
    fn occurs(&self, variable: &Type, within: &Type) -> bool {
        if variable == within {
            return true;
        }
        match within {
            Type::Var(_) => self
                .find(within)
                .is_some_and(|known| self.occurs(variable, known)),
            Type::List(inner) | Type::Optional(inner) | Type::Type(Some(inner)) => {
                self.occurs(variable, inner)
            }
            Type::Map(entry) => self.occurs(variable, &entry.0) || self.occurs(variable, &entry.1),
            _ => false,
        }
    }
}

/// The more general of two types that fit each other.
pub(crate) fn most_general(a: &Type, b: &Type) -> Type {
    if less_specific(a, b) {
        a.clone()
    } else {
        b.clone()
    }
}

/// Whether `a` says as much as `b` or less.
fn less_specific(a: &Type, b: &Type) -> bool {
    match (a, b) {
        (Type::Dyn | Type::Var(_) | Type::Param(_), _) | (Type::Type(_), Type::Type(_)) => true,
        (_, Type::Dyn | Type::Var(_) | Type::Param(_)) => false,
        (Type::List(a), Type::List(b)) | (Type::Optional(a), Type::Optional(b)) => {
            less_specific(a, b)
        }
        (Type::Map(a), Type::Map(b)) => less_specific(&a.0, &b.0) && less_specific(&a.1, &b.1),
        _ => a == b,
    }
}
