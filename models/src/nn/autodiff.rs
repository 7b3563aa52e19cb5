//! Automatic differentiation, for tests alone: the gradients written by hand are compared with its results.
//!
//! Burn is linked without its autodiff, which nothing but tests would use. [`Tracked`] puts `burn-autodiff` directly on
//! Burn's CPU backend, with the few operations that the plain formulas of the tests are made of. Every tensor is a
//! matrix of f32, and a scalar is a matrix `[1, 1]`; additions and products broadcast.

use std::ops::{Add, Mul, Neg, Range, Sub};

use burn_autodiff::Autodiff;
use burn_autodiff::grads::Gradients;
use burn_backend::backend::AutodiffBackend;
use burn_backend::ops::{ActivationOps, FloatTensorOps, IntTensorOps};
use burn_backend::tensor::FloatTensor;
use burn_backend::{Shape, Slice, TensorData, TensorMetadata};
use burn_dispatch::backends::Flex;
use burn_dispatch::devices::FlexDevice;

/// The CPU backend with every operation recorded.
type Recorded = Autodiff<Flex>;

/// A matrix whose operations are recorded, so that [`Tracked::backward`] can differentiate their result.
#[derive(Clone)]
pub struct Tracked(FloatTensor<Recorded>);

impl Tracked {
    /// Makes a constant of `values`, row-major: it has no gradient.
    pub fn constant(values: &[f32], [rows, cols]: [usize; 2]) -> Self {
        let data = TensorData::new(values.to_vec(), [rows, cols]);
        Self(Recorded::float_from_data(data, &FlexDevice))
    }

    /// Makes a variable of `values`, row-major: results are differentiated by it.
    pub fn variable(values: &[f32], shape: [usize; 2]) -> Self {
        Self(Recorded::float_set_require_grad(Self::constant(values, shape).0, true))
    }

    /// Returns the number of rows and the number of columns.
    pub fn dims(&self) -> [usize; 2] {
        let shape = self.0.shape();
        [shape[0], shape[1]]
    }

    /// Returns the values, row-major.
    pub fn values(&self) -> Vec<f32> {
        values(Recorded::inner(self.0.clone()))
    }

    /// Differentiates this scalar by every variable that it depends on.
    pub fn backward(&self) -> Gradients {
        assert_eq!(self.dims(), [1, 1], "a scalar is differentiated");
        Recorded::backward(self.0.clone())
    }

    /// Returns the gradient by this variable, row-major; `None` where the result does not depend on it.
    pub fn gradient(&self, gradients: &Gradients) -> Option<Vec<f32>> {
        Recorded::grad(&self.0, gradients).map(values)
    }

    /// Returns the rows at these indices, one under the other.
    pub fn select(&self, rows: &[u32]) -> Self {
        let rows: Vec<i32> = rows.iter().map(|&row| row as i32).collect();
        let n = rows.len();
        let rows = Flex::int_from_data(TensorData::new(rows, [n]), &FlexDevice);
        Self(Recorded::float_select(self.0.clone(), 0, rows))
    }

    /// Returns some of the columns.
    pub fn columns(&self, columns: Range<usize>) -> Self {
        let [rows, _] = self.dims();
        Self(Recorded::float_slice(self.0.clone(), &[Slice::from(0..rows), Slice::from(columns)]))
    }

    /// Puts matrices with the same number of rows side by side.
    pub fn concat(parts: Vec<Self>) -> Self {
        Self(Recorded::float_cat(parts.into_iter().map(|part| part.0).collect(), 1))
    }

    /// Returns the matrix product.
    pub fn matmul(&self, right: &Self) -> Self {
        Self(Recorded::float_matmul(self.0.clone(), right.0.clone()))
    }

    /// Returns the transpose.
    pub fn transposed(&self) -> Self {
        Self(Recorded::float_transpose(self.0.clone()))
    }

    /// Broadcasts a row, a column or a scalar to this shape.
    pub fn expand(&self, [rows, cols]: [usize; 2]) -> Self {
        Self(Recorded::float_expand(self.0.clone(), Shape::from([rows, cols])))
    }

    /// Sums all elements: `[1, 1]`.
    pub fn sum(&self) -> Self {
        Self(Recorded::float_reshape(Recorded::float_sum(self.0.clone()), Shape::from([1, 1])))
    }

    /// Sums each row: `[rows, 1]`.
    pub fn sum_rows(&self) -> Self {
        Self(Recorded::float_sum_dim(self.0.clone(), 1))
    }

    /// Squares each element.
    pub fn square(&self) -> Self {
        self.clone() * self.clone()
    }

    /// Returns `e^x` of each element.
    pub fn exp(&self) -> Self {
        Self(Recorded::float_exp(self.0.clone()))
    }

    /// Returns the natural logarithm of each element.
    pub fn log(&self) -> Self {
        Self(Recorded::float_log(self.0.clone()))
    }

    /// Returns `max(x, 0)` of each element.
    pub fn relu(&self) -> Self {
        Self(Recorded::relu(self.0.clone()))
    }

    /// Returns `ln(1 / (1 + e^-x))` of each element.
    pub fn log_sigmoid(&self) -> Self {
        Self(Recorded::log_sigmoid(self.0.clone()))
    }
}

impl Add for Tracked {
    type Output = Self;

    fn add(self, right: Self) -> Self {
        Self(Recorded::float_add(self.0, right.0))
    }
}

impl Sub for Tracked {
    type Output = Self;

    fn sub(self, right: Self) -> Self {
        Self(Recorded::float_sub(self.0, right.0))
    }
}

impl Mul for Tracked {
    type Output = Self;

    fn mul(self, right: Self) -> Self {
        Self(Recorded::float_mul(self.0, right.0))
    }
}

impl Add<f32> for Tracked {
    type Output = Self;

    fn add(self, right: f32) -> Self {
        Self(Recorded::float_add_scalar(self.0, right.into()))
    }
}

impl Mul<f32> for Tracked {
    type Output = Self;

    fn mul(self, right: f32) -> Self {
        Self(Recorded::float_mul_scalar(self.0, right.into()))
    }
}

impl Neg for Tracked {
    type Output = Self;

    fn neg(self) -> Self {
        Self(Recorded::float_neg(self.0))
    }
}

/// Reads a tensor of the CPU backend, row-major.
fn values(tensor: FloatTensor<Flex>) -> Vec<f32> {
    tensor.into_data().try_into_vec().expect("every tensor here is made of f32")
}

#[test]
fn a_product_is_differentiated_by_both_factors() {
    // (a b) for a = [1, 2], b = [3, 4]^T, squared: the gradients are 2 (a b) b and 2 (a b) a.
    let (a, b) = (Tracked::variable(&[1.0, 2.0], [1, 2]), Tracked::variable(&[3.0, 4.0], [2, 1]));
    let squared = a.matmul(&b).square();
    let gradients = squared.backward();
    assert_eq!(squared.values(), [121.0]);
    assert_eq!(a.gradient(&gradients).expect("a factor"), [66.0, 88.0]);
    assert_eq!(b.gradient(&gradients).expect("a factor"), [22.0, 44.0]);
}
