//! Templates: changed atomically, refused by name.

use crate::harness::{Place, all_templates, full_template, template};
use futures_util::future::join_all;
use vm_storage::{MAX_TEMPLATES, StorageError, Template, TemplateId};

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
    storage.delete_template(id).await.unwrap();
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
    let deleted = storage.delete_template(unknown).await;
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
    storage.delete_template(gone.id).await.unwrap();
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
