//! Tests of routes.

use super::*;

fn route(settings: &str) -> Route {
    let models = "[models.a]\nrun = 'r'\n[models.b]\nrun = 'r'\n[models.c]\nrun = 'r'";
    let text = format!("{models}\n[[routes]]\n{settings}");
    Routes::new(&text.parse().expect("a config")).all.swap_remove(0)
}

fn models(route: &Route) -> Vec<String> {
    (0..20_000).map(|user| route.model(Some(&WireId::Int(user))).to_owned()).collect()
}

#[test]
fn the_hashes_are_those_of_their_authors() {
    // The vectors of FNV's own page, and of the first numbers of SplitMix64 from the seed 0.
    assert_eq!(fnv1a(b""), 0xcbf2_9ce4_8422_2325);
    assert_eq!(fnv1a(b"a"), 0xaf63_dc4c_8601_ec8c);
    assert_eq!(fnv1a(b"foobar"), 0x8594_4171_f739_67e8);
    let step = 0x9e37_79b9_7f4a_7c15_u64;
    assert_eq!([mix(step), mix(step.wrapping_mul(2))], [0xe220_a839_7b1d_cdaf, 0x6e78_9e6a_a1b9_65f4]);
}

#[test]
fn two_salts_split_independently_and_each_by_the_weights() {
    let (one, two) = (route("models = { a = 3, b = 1 }\nsalt = 'one'"), route("models = { a = 3, b = 1 }"));
    let (one, two) = (models(&one), models(&two));
    let share = |n: usize| n as f64 / one.len() as f64;
    for split in [&one, &two] {
        let of_b = share(split.iter().filter(|model| *model == "b").count());
        assert!((of_b - 0.25).abs() < 0.01, "{of_b}");
    }
    // Independent splits agree on 0.75^2 + 0.25^2 of the users.
    let alike = share(one.iter().zip(&two).filter(|(one, two)| one == two).count());
    assert!((alike - 0.625).abs() < 0.015, "{alike}");
}

#[test]
fn a_weight_that_grows_moves_only_the_users_that_it_gains() {
    let (before, after) =
        (models(&route("models = { a = 9, b = 1 }")), models(&route("models = { a = 8, b = 2 }")));
    let moved: Vec<_> = before.iter().zip(&after).filter(|(old, new)| old != new).collect();
    assert!(moved.iter().all(|(old, new)| *old == "a" && *new == "b"), "{moved:?}");
    assert!((1600..2400).contains(&moved.len()), "{}", moved.len());
    let none = models(&route("models = { a = 0, b = 1, c = 0 }"));
    assert!(none.iter().all(|model| model == "b"), "a weight of 0 gets nobody");
}

/// Routes of tenants with a topic each, by headers, and by both ways.
fn tenants(more: &str) -> Routes {
    let kafka = "[kafka]\nbootstrap = 'b'\nrequests = ['q', 'of-a']\nreplies = 'r'\nrejects = 'x'\n";
    let text = format!(
        "models.main.run = 'r'\nmodels.other.run = 'r'\ntenants = {{ a = {{}}, b = {{}}, c = {{}} }}\n{kafka}\
         [[routes]]\ntopic = 'q'\nheaders = {{ tier = 'gold' }}\nmodels = {{ other = 1 }}\n\
         [[routes]]\ntenant = 'a'\ntopic = 'of-a'\nmodels = {{ main = 1 }}\n\
         [[routes]]\ntenant = 'b'\nheaders = {{ tenant = 'b' }}\nmodels = {{ main = 1 }}\n\
         [[routes]]\ntenant = 'b'\nmodels = {{ other = 1 }}\n\
         [[routes]]\ntenant = 'c'\nmodels = {{ main = 1 }}\n{more}"
    );
    Routes::new(&text.parse().expect("a config"))
}

fn event(part: TopicPartition, headers: &[(&str, &str)]) -> Incoming {
    let mut event = Incoming::new(std::time::Instant::now(), part, 0, None, None);
    event.headers = headers.iter().map(|(name, value)| ((*name).into(), Some((*value).into()))).collect();
    event
}

#[test]
fn an_event_is_of_the_tenant_whose_route_it_fits_and_of_none_else() {
    let (closed, open) = (tenants(""), tenants("[[routes]]\nmodels = { main = 1 }\n"));
    let label = |routes: &Routes, topic: u16, headers: &[(&str, &str)]| {
        let part = TopicPartition { topic, partition: 0 };
        let route = &routes.all()[routes.of(&event(part, headers))];
        (route.tenant, route.is_closed())
    };
    let (gold, of_b) = (("tier", "gold"), ("tenant", "b"));
    for routes in [&closed, &open] {
        assert_eq!(label(routes, 1, &[]), (Some(0), false));
        assert_eq!(label(routes, 1, &[of_b, gold]), (Some(0), false), "the topic is all of the one tenant's");
        assert_eq!(label(routes, 0, &[of_b, gold]), (Some(1), false), "tenants come first");
        assert_eq!(label(routes, 0, &[gold]), (None, false));
    }
    assert_eq!(label(&closed, 0, &[("tenant", "c")]), (None, true), "the third is for HTTP alone");
    assert_eq!(label(&open, 0, &[("tenant", "c")]), (None, false));
    assert!(!closed.has_room_for_others() && open.has_room_for_others());
}

#[test]
fn over_http_the_tenant_alone_says_the_route() {
    let routes = tenants("");
    let of = |part| {
        let route = &routes.all()[routes.of(&event(part, &[("tenant", "b"), ("tier", "gold")]))];
        (route.tenant, route.models.first().map(|(name, _)| name.as_str()))
    };
    let main = Some("main");
    assert_eq!([of(part("a")), of(part("c"))], [(Some(0), main), (Some(2), main)]);
    assert_eq!(of(part("b")), (Some(1), Some("other")), "its last route");
    assert_eq!([of(HTTP), of(part("gone"))], [(None, None); 2], "no route of none fits");
    assert_ne!(part("a"), part("b"));
}

#[test]
fn events_over_http_are_written_where_they_come_back_to_their_tenant() {
    let routes = tenants("");
    let written = |routes: &Routes, tenant| {
        let place = routes.written(tenant, 2);
        place.map(|(topic, headers)| {
            (topic, headers.iter().map(|(_, value)| value.clone()).collect::<Vec<_>>())
        })
    };
    assert_eq!(written(&routes, Some(0)), Some((1, vec![])));
    assert_eq!(written(&routes, Some(1)), Some((0, vec!["b".to_owned()])));
    assert_eq!(written(&routes, Some(2)), None, "no topic has its events");
    assert_eq!(written(&routes, None), Some((0, vec!["gold".to_owned()])));
    assert_eq!(written(&tenants("[[routes]]\nmodels = { main = 1 }\n"), None), Some((0, vec![])));
    let sees = |tenant| [0, 1].map(|topic| routes.sees(tenant, topic));
    assert_eq!(
        [Some(0), Some(1), Some(2), None].map(sees),
        [[false, true], [true, false], [false, false], [true, false]]
    );
    // A tenant that is known by a header has no part in a topic that another names as its own, whichever route comes first.
    let text = "models.main.run = 'r'\ntenants.a = {}\ntenants.b = {}\n[kafka]\nbootstrap = 'b'\nrequests = ['of-a', 'all']\n\
                replies = 'r'\nrejects = 'x'\nstate = 's'\n[[routes]]\ntenant = 'b'\nheaders = { tenant = 'b' }\n\
                models = { main = 1 }\n[[routes]]\ntenant = 'a'\ntopic = 'of-a'\nmodels = { main = 1 }";
    let first = Routes::new(&text.parse().unwrap());
    assert_eq!(written(&first, Some(0)), Some((0, vec![])));
    assert_eq!(written(&first, Some(1)), Some((1, vec!["b".to_owned()])));
    assert_eq!([0, 1].map(|topic| first.sees(Some(1), topic)), [false, true]);
    assert_eq!([0, 1].map(|topic| first.sees(Some(0), topic)), [true, false]);
    let plain: Routes = Routes::new(&"models.main.run = 'r'".parse().unwrap());
    assert!(plain.sees(None, 0) && plain.written(None, 1) == Some((0, &[])));
}

#[test]
fn a_reject_goes_again_the_route_of_where_it_came_from() {
    let text = "models.main.run = 'r'\ntenants.a = {}\n[kafka]\nbootstrap = 'b'\nrequests = ['q']\nreplies = 'r'\n\
                rejects = 'x'\n[[routes]]\ntenant = 'a'\ntopic = 'q'\nmodels = { main = 1 }";
    let mut config: ServeConfig = text.parse().unwrap();
    config.kafka.as_mut().unwrap().requests = vec!["x".into()];
    let routes = Routes::new(&config);
    let of = |headers: &[(&str, &str)]| {
        routes.all()[routes.of(&event(TopicPartition { topic: 0, partition: 0 }, headers))].tenant
    };
    assert_eq!(of(&[(SOURCE, "q/0/5")]), Some(0));
    assert_eq!([of(&[(SOURCE, "other/0/5")]), of(&[])], [None, None]);
}
