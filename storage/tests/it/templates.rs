//! Templates: changed atomically, refused by name.

use crate::harness::{Place, all_templates, full_template, template};
use futures_util::future::join_all;
use vm_storage::{MAX_TEMPLATES, StorageError, Template, TemplateId, TenantId};

/// An error of the caller's own.
#[derive(Debug)]
enum Mine {
    No,
    Storage(StorageError),
}

impl From<StorageError> for Mine {
    fn from(error: StorageError) -> Self {
        Self::Storage(error)
    }
}

#[tokio::test]
async fn concurrent_changes_of_one_template_all_count() {
    let place = Place::new();
    let storage = place.open();
    let template = template();
    storage.create_template(template.clone()).await.unwrap();
    let changes = (0..32).map(|number| {
        storage.update_template(template.id, move |template| {
            template.modules.push(format!("module {number}"));
            Ok::<_, StorageError>(template.modules.len())
        })
    });
    let mut lengths: Vec<usize> = join_all(changes).await.into_iter().map(Result::unwrap).collect();
    lengths.sort_unstable();
    assert_eq!(lengths, (1..=32).collect::<Vec<_>>());
    assert_eq!(storage.template(template.id).unwrap().unwrap().modules.len(), 32);
}

#[tokio::test]
async fn a_change_that_errs_changes_nothing() {
    let place = Place::new();
    let storage = place.open();
    let template = full_template();
    storage.create_template(template.clone()).await.unwrap();
    let outcome = storage
        .update_template(template.id, |template| {
            template.modules.clear();
            Err::<(), _>(Mine::No)
        })
        .await;
    assert!(matches!(outcome, Err(Mine::No)), "{outcome:?}");
    assert_eq!(storage.template(template.id).unwrap(), Some(template));
    assert_eq!(storage.stats().commits, 1);
}

#[tokio::test]
async fn a_change_that_panics_hurts_its_caller_alone() {
    let place = Place::new();
    let storage = place.open();
    let template = template();
    storage.create_template(template.clone()).await.unwrap();
    let (id, clone) = (template.id, storage.clone());
    let change = |_: &mut Template| -> Result<(), StorageError> { panic!("a bug of the caller") };
    let outcome = tokio::spawn(async move { clone.update_template(id, change).await }).await;
    assert!(outcome.unwrap_err().is_panic());
    assert_eq!(storage.template(id).unwrap(), Some(template));
    storage.delete_template(id, None).await.unwrap();
}

#[tokio::test]
async fn a_template_keeps_its_id() {
    let place = Place::new();
    let storage = place.open();
    let template = template();
    storage.create_template(template.clone()).await.unwrap();
    let outcome = storage
        .update_template(template.id, |template| {
            template.id = TemplateId::new();
            Ok::<_, StorageError>(())
        })
        .await;
    assert!(
        matches!(outcome, Err(StorageError::TemplateRenamed(id)) if id == template.id),
        "{outcome:?}"
    );
    assert_eq!(all_templates(&storage), [template]);
}

#[tokio::test]
async fn a_second_template_of_one_id_is_refused() {
    let place = Place::new();
    let storage = place.open();
    let template = full_template();
    storage.create_template(template.clone()).await.unwrap();
    let second = Template { name: "second".to_owned(), ..template.clone() };
    let outcome = storage.create_template(second).await;
    assert!(
        matches!(outcome, Err(StorageError::DuplicateTemplate(id)) if id == template.id),
        "{outcome:?}"
    );
    assert_eq!(all_templates(&storage), [template]);
}

#[tokio::test]
async fn an_unknown_template_is_neither_changed_nor_deleted() {
    let place = Place::new();
    let storage = place.open();
    let unknown = TemplateId::new();
    let changed = storage.update_template(unknown, |_| Ok::<_, Mine>(())).await;
    assert!(
        matches!(changed, Err(Mine::Storage(StorageError::UnknownTemplate(id))) if id == unknown),
        "{changed:?}"
    );
    let deleted = storage.delete_template(unknown, None).await;
    assert!(
        matches!(deleted, Err(StorageError::UnknownTemplate(id)) if id == unknown),
        "{deleted:?}"
    );
}

#[tokio::test]
async fn a_deleted_template_is_gone_with_its_parts() {
    let place = Place::new();
    let storage = place.open();
    let (gone, stays) = (full_template(), full_template());
    storage.create_template(gone.clone()).await.unwrap();
    storage.create_template(stays.clone()).await.unwrap();
    storage.delete_template(gone.id, None).await.unwrap();
    storage.shutdown().await.unwrap();
    let storage = place.open();
    assert_eq!(storage.template(gone.id).unwrap(), None);
    assert_eq!(all_templates(&storage), [stays]);
}

#[tokio::test]
async fn templates_are_listed_oldest_first_and_end_at_their_bound() {
    let place = Place::new();
    let storage = place.open();
    let templates: Vec<Template> = (0..MAX_TEMPLATES).map(|_| template()).collect();
    let created = templates.iter().rev().map(|each| storage.create_template(each.clone()));
    for outcome in join_all(created).await {
        outcome.unwrap();
    }
    let outcome = storage.create_template(template()).await;
    assert!(
        matches!(outcome, Err(StorageError::TooManyTemplates { limit: MAX_TEMPLATES })),
        "{outcome:?}"
    );
    assert_eq!(all_templates(&storage), templates);
}

#[tokio::test]
async fn each_change_is_a_version_and_only_one_that_is_expected_is_deleted() {
    let place = Place::new();
    let storage = place.open();
    let template = template();
    storage.create_template(template.clone()).await.unwrap();
    let version = || storage.template(template.id).unwrap().unwrap().version;
    assert_eq!(version(), 1);
    for expected in 2..=4 {
        // What a change says of it does not count.
        let change = |template: &mut Template| {
            template.version = 90;
            Ok::<_, StorageError>(())
        };
        storage.update_template(template.id, change).await.unwrap();
        assert_eq!(version(), expected);
    }
    let errs = |_: &mut Template| Err::<(), _>(Mine::No);
    storage.update_template(template.id, errs).await.unwrap_err();
    assert_eq!(version(), 4);
    let refused = storage.delete_template(template.id, Some(vec![3, 5])).await.unwrap_err();
    assert!(
        matches!(refused, StorageError::TemplateVersion { id, version: 4 } if id == template.id),
        "{refused:?}"
    );
    let refused = storage.delete_template(template.id, Some(vec![])).await.unwrap_err();
    assert!(matches!(refused, StorageError::TemplateVersion { .. }), "{refused:?}");
    storage.delete_template(template.id, Some(vec![3, 4])).await.unwrap();
    assert_eq!(storage.template(template.id).unwrap(), None);
}

#[tokio::test]
async fn a_unique_name_is_one_templates_until_it_goes_or_takes_another() {
    let place = Place::new();
    let storage = place.open();
    let unique = |name: &str| Template { name: name.to_owned(), is_unique: true, ..template() };
    let [one, two] = [unique("one"), unique("two")];
    storage.create_template(one.clone()).await.unwrap();
    storage.create_template(two.clone()).await.unwrap();
    // One that does not ask for it may have any name.
    let plain = Template { is_unique: false, ..unique("one") };
    storage.create_template(plain.clone()).await.unwrap();
    let found = |name: &str| {
        let found = storage.template_of_name(TenantId::LOCAL, name).unwrap();
        found.map(|template| template.id)
    };
    assert_eq!((found("one"), found("two"), found("on")), (Some(one.id), Some(two.id), None));
    assert_eq!(storage.template_of_name(TenantId::new(), "one").unwrap(), None);

    let is_taken = |error: StorageError| matches!(error, StorageError::TemplateNameTaken { name } if name == "one");
    assert!(is_taken(storage.create_template(unique("one")).await.unwrap_err()));
    let rename = |id, name: &'static str| {
        storage.update_template(id, move |template: &mut Template| {
            name.clone_into(&mut template.name);
            Ok::<_, StorageError>(())
        })
    };
    assert!(is_taken(rename(two.id, "one").await.unwrap_err()));
    assert_eq!((found("two"), found("one")), (Some(two.id), Some(one.id)));
    rename(one.id, "one").await.unwrap();
    rename(one.id, "uno").await.unwrap();
    assert_eq!((found("one"), found("uno")), (None, Some(one.id)));
    rename(two.id, "one").await.unwrap();
    assert_eq!((found("one"), found("two")), (Some(two.id), None));
    storage.delete_template(two.id, None).await.unwrap();
    storage.create_template(unique("one")).await.unwrap();
    let changed = storage.update_template(plain.id, |template: &mut Template| {
        template.is_unique = true;
        Ok::<_, StorageError>(())
    });
    assert!(matches!(changed.await.unwrap_err(), StorageError::TemplateRenamed(_)));
    // It is as unique in the next process.
    storage.shutdown().await.unwrap();
    let storage = place.open();
    assert!(is_taken(storage.create_template(unique("one")).await.unwrap_err()));
}
