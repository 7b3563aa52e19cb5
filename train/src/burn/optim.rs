//! Optimisers over named weights, with a state that can be saved and resumed.

use std::collections::BTreeMap;

use burn::module::{Param, ParamId};
use burn::tensor::{Gradients, Tensor};

use crate::config::Optimizer;
use crate::{BurnConfig, Result};

const BETA_1: f32 = 0.9;
const BETA_2: f32 = 0.999;
const EPSILON: f32 = 1e-8;

/// Adam (Kingma and Ba 2015, algorithm 1) or plain SGD, both with decoupled weight decay.
pub struct Optim {
    optimizer: Optimizer,
    learning_rate: f64,
    weight_decay: f32,
    steps: u64,
    moments: BTreeMap<&'static str, Moments>,
}

/// Adam's running means of a weight's gradient and of its square.
struct Moments {
    first: Tensor<2>,
    second: Tensor<2>,
}

impl Optim {
    /// Before the first step.
    pub fn new(config: &BurnConfig) -> Self {
        let BurnConfig { optimizer, learning_rate, weight_decay, .. } = *config;
        Self { optimizer, learning_rate, weight_decay, steps: 0, moments: BTreeMap::new() }
    }

    /// Moves every weight that has a gradient by one step, and takes the gradients.
    pub fn step(&mut self, params: Vec<(&'static str, &mut Param<Tensor<2>>)>, gradients: &mut Gradients) {
        self.steps += 1;
        for (name, param) in params {
            let value = param.val();
            let Some(gradient) = value.grad_remove(gradients) else { continue };
            let value = value.inner();
            let delta = match self.optimizer {
                Optimizer::Sgd => gradient.mul_scalar(self.learning_rate),
                Optimizer::Adam => self.adam(name, gradient),
            };
            let kept = match self.weight_decay {
                0.0 => value,
                decay => value.mul_scalar(1.0 - self.learning_rate * f64::from(decay)),
            };
            *param = trainable(param.id, kept - delta);
        }
    }

    /// The step that Adam takes against a gradient.
    fn adam(&mut self, name: &'static str, gradient: Tensor<2>) -> Tensor<2> {
        let (first, second) = match self.moments.remove(name) {
            Some(Moments { first, second }) => (first, second),
            None => (gradient.zeros_like(), gradient.zeros_like()),
        };
        let first = first.mul_scalar(BETA_1) + gradient.clone().mul_scalar(1.0 - BETA_1);
        let second = second.mul_scalar(BETA_2) + gradient.square().mul_scalar(1.0 - BETA_2);
        // Both corrections for the start at 0 go into the scalars: the passes over the weights stay few.
        let steps = self.steps as f64;
        let correction_1 = 1.0 - f64::from(BETA_1).powf(steps);
        let correction_2 = (1.0 - f64::from(BETA_2).powf(steps)).sqrt();
        let scale = second.clone().sqrt().add_scalar(f64::from(EPSILON) * correction_2);
        let delta = first.clone().div(scale).mul_scalar(self.learning_rate * correction_2 / correction_1);
        self.moments.insert(name, Moments { first, second });
        delta
    }

    /// How many steps were taken.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// The state of each weight, by names for a file.
    pub fn moments(&self) -> impl Iterator<Item = (String, &Tensor<2>)> {
        self.moments.iter().flat_map(|(name, Moments { first, second })| {
            [(format!("adam_first.{name}"), first), (format!("adam_second.{name}"), second)]
        })
    }

    /// The same optimiser after `steps` steps, with the state that `read` has for each weight.
    ///
    /// # Errors
    /// As `read` has them.
    pub fn resumed(
        &self,
        steps: u64,
        params: Vec<(&'static str, &Param<Tensor<2>>)>,
        read: &dyn Fn(&str, [usize; 2]) -> Result<Tensor<2>>,
    ) -> Result<Self> {
        let mut moments = BTreeMap::new();
        if self.optimizer == Optimizer::Adam && steps > 0 {
            for (name, param) in params {
                let first = read(&format!("adam_first.{name}"), param.dims())?;
                let second = read(&format!("adam_second.{name}"), param.dims())?;
                moments.insert(name, Moments { first, second });
            }
        }
        Ok(Self { steps, moments, ..*self })
    }
}

/// A parameter of this value that collects gradients.
pub fn trainable(id: ParamId, value: Tensor<2>) -> Param<Tensor<2>> {
    Param::initialized(id, value.autodiff().require_grad())
}

#[cfg(test)]
mod tests {
    use burn::module::Module;
    use burn::optim::{AdamConfig, GradientsParams};
    use burn::tensor::Device;
    use burnrec_models::params::on_host;

    use super::*;

    fn weight(device: &Device) -> Param<Tensor<2>> {
        trainable(
            ParamId::new(),
            Tensor::from_data([[0.5, -1.5, 2.0], [1.0, 0.0, -0.25]], &device.clone().inner()),
        )
    }

    fn loss(weight: &Param<Tensor<2>>) -> Tensor<1> {
        (weight.val().square() * weight.val().add_scalar(0.3)).sum()
    }

    #[test]
    fn adam_takes_the_steps_of_burns_own() {
        let device = Device::flex().autodiff();
        let config = BurnConfig { learning_rate: 0.01, ..BurnConfig::default() };
        let (mut ours, mut optim) = (weight(&device), Optim::new(&config));
        let (mut theirs, mut burns) = (weight(&device), AdamConfig::new().with_epsilon(EPSILON).init());
        for _ in 0..20 {
            let mut gradients = loss(&ours).backward();
            optim.step(vec![("weight", &mut ours)], &mut gradients);
            let gradients = GradientsParams::from_grads(loss(&theirs).backward(), &theirs);
            theirs = burns.step(0.01, theirs, gradients);
        }
        assert_eq!(theirs.num_params(), 6);
        for (ours, theirs) in on_host(&ours.val()).into_iter().zip(on_host(&theirs.val())) {
            assert!((ours - theirs).abs() < 1e-6, "{ours} and {theirs}");
        }
    }

    #[test]
    fn sgd_goes_down_the_gradient_and_decay_shrinks() {
        let device = Device::flex().autodiff();
        let config = BurnConfig {
            learning_rate: 0.1,
            weight_decay: 0.5,
            optimizer: Optimizer::Sgd,
            ..BurnConfig::default()
        };
        let mut param = weight(&device);
        let mut gradients = param.val().square().sum().backward();
        Optim::new(&config).step(vec![("weight", &mut param)], &mut gradients);
        for (moved, start) in on_host(&param.val()).into_iter().zip([0.5, -1.5, 2.0, 1.0, 0.0, -0.25]) {
            assert!((moved - start * (1.0 - 0.05 - 0.2)).abs() < 1e-6);
        }
    }
}
